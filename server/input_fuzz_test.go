package main

import (
	"net/netip"
	"testing"
)

// FuzzValues checks that a parsed flag value prints as a value that parses to itself.
func FuzzValues(f *testing.F) {
	for _, text := range []string{"", "64KiB", "1e3", "-1", "1TiB", "99999999999999999999", "10.0.0.0/8, ::1", "10.0.0.1/33", "fe80::1%eth0", "0x10", " 5 ", "NaN", "1.5MB"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s size
		if s.Set(text) == nil {
			if s < 0 || s > 1<<40 {
				t.Errorf("size %q is %d", text, s)
			}
			var again size
			if err := again.Set(s.String()); err != nil {
				t.Errorf("size %q prints %q: %v", text, s.String(), err)
			}
		}
		var l streamLimit
		if l.Set(text) == nil {
			again := auto
			if err := again.Set(l.String()); err != nil || again != l {
				t.Errorf("limit %q prints %q, which is %d: %v", text, l.String(), again, err)
			}
		}
		var p prefixes
		if p.Set(text) == nil {
			var again prefixes
			if err := again.Set(p.String()); err != nil || p.String() != again.String() {
				t.Errorf("ranges %q print %q, which is %q: %v", text, p.String(), again.String(), err)
			}
			for _, one := range p {
				if !one.IsValid() || one == (netip.Prefix{}) {
					t.Errorf("ranges %q have %v", text, one)
				}
			}
		}
	})
}
