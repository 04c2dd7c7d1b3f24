package main

import (
	"net/http"
	"strconv"
	"time"
)

const (
	firstBase     = 2 * time.Second        // until the server says otherwise
	minBase       = 100 * time.Millisecond // a server that says "retry: 0" must not make clients spin
	maxDelay      = 30 * time.Second
	maxRetryAfter = 5 * time.Minute
)

// delay says how long to wait before the next attempt: base doubled with each failure in a row, capped first and then
// jittered to between a half and the whole of it. Jitter before the cap would make all clients of a server that was away
// for long come back at the same instant. Random is in [0, 1).
func delay(base time.Duration, failures int, random float64) time.Duration {
	d := maxDelay
	if failures < 20 { // beyond, the shift could overflow
		d = min(clampBase(base)<<failures, maxDelay)
	}
	return d/2 + time.Duration(random*float64(d/2))
}

// delayAfter is delay for a server that asked to be left alone for a time: never earlier, and jittered, because a fixed
// time brings all clients back at once.
func delayAfter(after, base time.Duration, random float64) time.Duration {
	return min(after, maxRetryAfter) + time.Duration(random*float64(clampBase(base)))
}

func clampBase(base time.Duration) time.Duration { return min(max(base, minBase), maxDelay) }

// parseRetry reads the value of a stream's "retry:" field. "If the field value consists of only ASCII digits, then
// interpret the field value as an integer in base ten [...] Otherwise, ignore the field."
func parseRetry(b []byte) (base time.Duration, ok bool) {
	ms, err := strconv.ParseUint(string(b), 10, 31)
	return time.Duration(ms) * time.Millisecond, err == nil
}

// parseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds or a date. Zero means none.
func parseRetryAfter(h string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(h, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(h); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}
