package engine

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxRates is how many addresses are remembered at once.
	maxRates = 10_000
	// burstTime is for how long an address may have saved up: restarting a browser full of
	// tabs is nothing wrong.
	burstTime = 10 // seconds
)

// rates is how many users each address has brought lately.
type rates struct {
	perSecond int // 0 = no limit

	mu    sync.Mutex
	known map[netip.Prefix]*rate.Limiter
}

// allow reports whether the address may bring n more.
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

// makeSpace forgets addresses that have not come for a while, and some others if that is not a tenth:
// no addresses, however many, need more memory, and few of them a walk over all.
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
