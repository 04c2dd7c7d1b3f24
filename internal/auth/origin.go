package auth

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Origins are the other origins whose pages may subscribe, in lower case; "*" = any.
type Origins []string

// Allow refuses browsers of other origins. Only they send Origin with a GET. The address of
// this server is not compared alone, for proxies rewrite Host; a browser that says the
// request comes from the same origin is believed, since no page can make it say so.
func (o Origins) Allow(header http.Header, r *http.Request) error {
	if o.Greet(header, r) {
		return nil
	}
	return &Error{Status: http.StatusForbidden, Reason: "origin", Sentence: fmt.Sprintf(
		"pages of %.200q may not subscribe here; start the server with -origins to allow them", r.Header.Get("Origin"))}
}

// Greet sets what a browser of another origin needs to see the answer, and reports whether
// the request's origin may subscribe. Nobody is refused: a browser sends Origin with every
// POST, its own site's too, where a proxy may have rewritten Host, and with the handshake of
// a WebSocket; and whoever knows a client id may speak for it.
func (o Origins) Greet(header http.Header, r *http.Request) bool {
	header.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case origin == "":
	case slices.Contains(o, origin):
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true")
	case slices.Contains(o, "*"):
		header.Set("Access-Control-Allow-Origin", "*")
	default:
		return r.Header.Get("Sec-Fetch-Site") == "same-origin" || SameHost(origin, r.Host)
	}
	return true
}

// SameHost reports whether an origin is that of the host.
func SameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}
