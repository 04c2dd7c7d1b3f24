package web

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"
)

// HandlePanic adds a route whose handler panics.
func (s *Server) HandlePanic(path string) {
	s.handler.(*echo.Echo).GET(path, func(echo.Context) error { panic("as asked") })
}

// Users returns how many users the room has.
func (s *Server) Users(room string) int { return s.table.Count(room) }

// ParseSubscription returns what a GET of the query asks for.
func ParseSubscription(query, lastEventID string) (room, id, cursor string, poll bool, err error) {
	r := httptest.NewRequest(http.MethodGet, "/events", nil)
	r.URL.RawQuery = query
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	sub, err := parseSubscription(r)
	return sub.room, sub.id, sub.cursor, sub.poll, err
}

// AddressKey returns what a request from remote with that X-Forwarded-For counts under.
func AddressKey(trusted []netip.Prefix, remote, forwardedFor string) netip.Prefix {
	r := httptest.NewRequest(http.MethodGet, "/events", nil)
	r.RemoteAddr = remote
	r.Header.Set("X-Forwarded-For", forwardedFor)
	return addressKey(clientAddress(trusted), r)
}

// Keys is what is remembered of Idempotency-Keys.
type Keys struct{ keys keys }

// Once returns the id that do returned for the same key, or else calls it.
func (k *Keys) Once(key string, do func() (id string)) string {
	return k.keys.once(key, func() emitted { return emitted{ID: do()} }).ID
}

// Len returns how many keys are remembered.
func (k *Keys) Len() int { return max(len(k.keys.known), len(k.keys.order)) }

// Rates is what is remembered of the addresses that bring users.
type Rates struct{ rates rates }

// NewRates returns one that lets n users a second pass.
func NewRates(n int) *Rates { return &Rates{rates{perSecond: n}} }

// Allow says that the address may bring n users now.
func (r *Rates) Allow(address netip.Prefix, now time.Time, n int) bool {
	return r.rates.allow(address, now, n)
}

// Len returns how many addresses are remembered.
func (r *Rates) Len() int { return len(r.rates.known) }

// Match says that the pattern of a room is the name.
func Match(pattern, name string) bool { return match(pattern, name) }

// Readdressed is what decides who is asked without need.
var Readdressed = readdressed
