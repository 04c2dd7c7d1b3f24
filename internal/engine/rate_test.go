package engine

import (
	"net/netip"
	"testing"
	"time"
)

// The number of stored addresses is limited.
func TestRatesAreBounded(t *testing.T) {
	r, now := rates{perSecond: 1}, time.Now()
	for i := range 1 << 15 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if !r.allow(netip.PrefixFrom(a, 32), now, 1) {
			t.Fatalf("%v is refused at once", a)
		}
		if n := len(r.known); n > 10_000 {
			t.Fatalf("got %d addresses, want at most 10,000", n)
		}
	}
	now = now.Add(time.Minute)
	r.allow(netip.MustParsePrefix("192.0.2.1/32"), now, 1)
	if n := len(r.known); n > 10_000 {
		t.Errorf("got %d addresses, want at most 10,000", n)
	}
}
