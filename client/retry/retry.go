// Package retry computes how long a client waits before its next request. Its functions are pure. docs/transport.md
// describes the rules. docs/transport.json holds the test cases for this package and for io.js.
package retry

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

const (
	// MinBase prevents a tight loop if the server sends "retry: 0".
	MinBase = 100 * time.Millisecond
	// MaxDelay is the longest back-off.
	MaxDelay = 30 * time.Second
	// MaxAfter is the largest Retry-After that is obeyed.
	MaxAfter = 5 * time.Minute
)

// Delay returns how long to wait after a number of failures in a row. It doubles base with each failure, limits it, and
// then takes a random value between half of it and all of it. Jitter before the limit would make all clients of a
// server that was away for long reconnect at the same moment. after is the server's Retry-After, 0 for none, and is
// added. random is in [0, 1).
func Delay(base time.Duration, failures int, after time.Duration, random float64) time.Duration {
	d := MaxDelay
	if failures < 20 { // a larger shift could overflow
		d = min(min(max(base, MinBase), MaxDelay)<<failures, MaxDelay)
	}
	return min(after, MaxAfter) + d/2 + time.Duration(random*float64(d/2))
}

// ParseField parses the value of a stream's "retry:" field. "If the field value consists of only ASCII digits, then
// interpret the field value as an integer in base ten [...] Otherwise, ignore the field."
func ParseField(b []byte) (base time.Duration, ok bool) {
	ms, err := strconv.ParseUint(string(b), 10, 31)
	return time.Duration(ms) * time.Millisecond, err == nil
}

// ParseAfter parses a Retry-After header (RFC 9110, section 10.2.3) in seconds or as a date. It returns at most
// MaxAfter, and 0 for any other value.
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
