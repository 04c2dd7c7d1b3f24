package engine

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"headcount/internal/lockorder"
)

const (
	// maxRates is how many addresses are kept at once.
	maxRates = 10_000
	// burstTime is how long an address may save up its rate, because restarting a browser with many tabs is legitimate.
	burstTime = 10 // seconds
)

// rates counts the recent new users of each address.
type rates struct {
	perSecond int // 0 = no limit

	mu    lockorder.Mutex[lockorder.Leaf]
	known map[netip.Prefix]*rate.Limiter
}

// allow reports whether the address may add n more.
func (r *rates) allow(address netip.Prefix, now time.Time, n int) bool {
	if r.perSecond == 0 || n == 0 {
		return true
	}
	burst := r.perSecond * burstTime
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.known[address]
	if l == nil {
		r.makeSpace(now)
		l = rate.NewLimiter(rate.Limit(r.perSecond), burst)
		r.known[address] = l
	}
	return l.AllowN(now, min(n, burst))
}

// makeSpace drops addresses that were not seen for a while. If these are less than a tenth, it drops some others too.
// So the memory is limited for any number of addresses, and a walk over all of them is rare.
func (r *rates) makeSpace(now time.Time) {
	if r.known == nil {
		r.known = make(map[netip.Prefix]*rate.Limiter)
	}
	if len(r.known) < maxRates {
		return
	}
	for address, l := range r.known {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(r.known, address)
		}
	}
	for address := range r.known {
		if len(r.known) <= maxRates*9/10 {
			break
		}
		delete(r.known, address)
	}
}
