// Package retry says how long a client waits before it asks a server again. All of it is pure: docs/transport.md
// describes the rules, and docs/transport.json holds the cases that both this package and io.js are tested with.
package retry

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

const (
	// MinBase keeps a client from spinning at a server that says "retry: 0".
	MinBase = 100 * time.Millisecond
	// MaxDelay is the longest back-off.
	MaxDelay = 30 * time.Second
	// MaxAfter is how much of a Retry-After is believed.
	MaxAfter = 5 * time.Minute
)

// Delay returns how long to wait after a number of failures in a row: base doubled with each of them, capped first and
// then jittered to between a half and the whole of it. Jitter before the cap would make all clients of a server that was
// away for long come back at the same instant. After is the server's Retry-After, 0 for none; it comes on top. Random
// is in [0, 1).
func Delay(base time.Duration, failures int, after time.Duration, random float64) time.Duration {
	d := MaxDelay
	if failures < 20 { // beyond, the shift could overflow
		d = min(min(max(base, MinBase), MaxDelay)<<failures, MaxDelay)
	}
	return min(after, MaxAfter) + d/2 + time.Duration(random*float64(d/2))
}

// ParseField reads the value of a stream's "retry:" field. "If the field value consists of only ASCII digits, then
// interpret the field value as an integer in base ten [...] Otherwise, ignore the field."
func ParseField(b []byte) (base time.Duration, ok bool) {
	ms, err := strconv.ParseUint(string(b), 10, 31)
	return time.Duration(ms) * time.Millisecond, err == nil
}

// ParseAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds or a date, at most MaxAfter. Anything else
// counts as none, which is 0.
func ParseAfter(header http.Header, now time.Time) time.Duration {
	values := header.Values("Retry-After")
	if len(values) != 1 {
		return 0
	}
	seconds, err := strconv.ParseUint(values[0], 10, 31)
	switch {
	case err == nil:
		return min(time.Duration(seconds)*time.Second, MaxAfter)
	case errors.Is(err, strconv.ErrRange):
		return MaxAfter
	}
	if t, err := http.ParseTime(values[0]); err == nil {
		return min(max(0, t.Sub(now)), MaxAfter)
	}
	return 0
}
