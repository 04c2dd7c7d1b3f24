package auth

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Origins are the other origins whose pages may subscribe, as [ParseOrigins] returns them; "*" = any.
type Origins []string

// ParseOrigins reads a comma-separated list of origins, such as https://example.com. It refuses what no browser sends.
func ParseOrigins(list string) (Origins, error) {
	var origins Origins
	for o := range strings.SplitSeq(list, ",") {
		o = strings.ToLower(strings.TrimSpace(o)) // as browsers send it
		if o == "" {
			continue
		}
		if o != "*" {
			if err := checkOrigin(o); err != nil {
				return nil, err
			}
		}
		origins = append(origins, o)
	}
	return origins, nil
}

// checkOrigin returns why a browser sends no such origin.
func checkOrigin(o string) error {
	u, err := url.Parse(o)
	visible := !strings.ContainsFunc(o, func(r rune) bool { return r <= ' ' || r > '~' })
	if err != nil || u.Scheme == "" || u.Hostname() == "" || o != u.Scheme+"://"+u.Host || !visible {
		return fmt.Errorf("%q is not an origin; write only scheme and host, such as https://example.com (international names as xn--…), or *", o)
	}
	if strings.Contains(u.Host, "*") {
		return fmt.Errorf("%q has a wildcard, which matches nothing; list each origin, or use * for any", o)
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && a.String() != u.Hostname() {
		return fmt.Errorf("%q matches nothing; browsers write that address as %s", o, a)
	}
	port := u.Port()
	switch n, err := strconv.ParseUint(port, 10, 16); {
	case port == "" && !strings.HasSuffix(u.Host, ":"):
	case u.Scheme == "https" && port == "443", u.Scheme == "http" && port == "80":
		return fmt.Errorf("%q matches nothing; browsers omit the port %s of %s", o, port, u.Scheme)
	case err != nil || n == 0 || strconv.FormatUint(n, 10) != port:
		return fmt.Errorf("%q matches nothing; there is no such port", o)
	}
	return nil
}

// Allow refuses browsers of other origins. Only they send Origin with a GET. The address of
// this server is not compared alone, for proxies rewrite Host; a browser that says the
// request comes from the same origin is believed, since no page can make it say so.
func (o Origins) Allow(header http.Header, r *http.Request) error {
	if o.Greet(header, r) {
		return nil
	}
	origin := r.Header.Get("Origin")
	welcome(header, origin) // its page may read why it is refused
	return &Error{Status: http.StatusForbidden, Reason: "origin", Sentence: fmt.Sprintf(
		"pages of %.200q may not subscribe here; start the server with -origins to allow them", origin)}
}

// Greet sets what a browser of another origin needs to see the answer, and reports whether
// the request's origin may subscribe. Nobody is refused: a browser sends Origin with every
// POST, its own site's too, where a proxy may have rewritten Host, and with the handshake of
// a WebSocket; and whoever knows a client id may speak for it.
func (o Origins) Greet(header http.Header, r *http.Request) bool {
	header.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin != "" && (slices.Contains(o, origin) || slices.Contains(o, "*")) {
		welcome(header, origin)
		return true
	}
	return o.known(r)
}

// welcome lets pages of an origin read an answer. An origin and not "*": "if credentials mode is "include", then * is not
// allowed", in the words of the Fetch standard.
func welcome(header http.Header, origin string) {
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Allow-Credentials", "true")
}

// Preflight answers a browser that asks what a page of another origin may send, and reports whether it may send anything.
func (o Origins) Preflight(header http.Header, r *http.Request, methods []string) bool {
	if r.Header.Get("Access-Control-Request-Method") == "" || !o.Greet(header, r) || header.Get("Access-Control-Allow-Origin") == "" {
		return false
	}
	header.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	// What EventSource libraries send that read by fetch.
	header.Set("Access-Control-Allow-Headers", "Last-Event-ID, Cache-Control, Authorization, X-Requested-With, Content-Type, "+tokenHeader)
	header.Set("Access-Control-Max-Age", "7200") // Chromium takes no more
	return true
}

// known reports whether a request is of this site, of a named origin, or of no page.
func (o Origins) known(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return origin == "" || slices.Contains(o, origin) || r.Header.Get("Sec-Fetch-Site") == "same-origin" || SameHost(origin, r.Host)
}

// SameHost reports whether an origin is that of the host.
func SameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// PublicOrigin returns the scheme and host at which the browser of a request has reached this server. It is for what only
// that browser is shown: anybody can say these headers.
func PublicOrigin(r *http.Request) string {
	scheme, host := "http", r.Host
	if r.TLS != nil || r.Header.Get("X-Forwarded-Ssl") == "on" {
		scheme = "https"
	}
	for _, name := range []string{"X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Url-Scheme"} {
		if said := strings.ToLower(firstOf(r, name)); said == "http" || said == "https" {
			scheme = said
			break
		}
	}
	if said := firstOf(r, "X-Forwarded-Host"); isHost(said) {
		host = said
	}
	return scheme + "://" + host
}

// firstOf returns the first value of a header. Each proxy on the way may have added its own, so it is the browser's.
func firstOf(r *http.Request, name string) string {
	first, _, _ := strings.Cut(r.Header.Get(name), ",")
	return strings.TrimSpace(first)
}

// isHost reports whether text is a host, perhaps with a port.
func isHost(text string) bool {
	if host, port, err := net.SplitHostPort(text); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		text = host
	}
	_, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return err == nil || text != "" && strings.Trim(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}
