package main

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode"
)

// FuzzOrigins: what is taken for an origin is one as a browser sends it, or "*"; it
// can go into a header.
func FuzzOrigins(f *testing.F) {
	for _, list := range []string{
		"", "*", "https://example.com", "https://example.com, http://a:80", "https://example.com/", "https://u@example.com", "null", "//a", "https://a\r\nX: y", "https://[::1]:8080",
		"https://a?b", "https://a#b", "https://*.a", " , ", "https://\u00e9.com", "HTTPS://A.COM", "https://a b", "https://:80", "javascript://a", "a://\u008d",
	} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		origins, err := parseOrigins(list)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error is more than a line: %q", err)
			}
			return
		}
		for _, o := range origins {
			if o == "*" {
				continue
			}
			u, err := url.Parse(o)
			if err != nil || u.Hostname() == "" || u.User != nil || u.Path+u.RawQuery+u.Fragment != "" {
				t.Errorf("%q is taken for an origin: %v", o, err)
			}
			if strings.ContainsFunc(o, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == ',' }) {
				t.Errorf("origin %q cannot go into a header", o)
			}
		}
	})
}

// FuzzValues: the values of flags that are parsed here are themselves when printed.
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
