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

// Origins are the other origins whose pages may subscribe, as [ParseOrigins] returns them. "*" allows any origin.
// "https://*.example.com" allows all names below example.com, but not example.com itself. "null" allows pages without
// an origin, such as files and sandboxed frames.
type Origins []string

// noOrigin is what browsers send for a page without an origin.
const noOrigin = "null"

// ParseOrigins reads a comma-separated list of origins, such as https://example.com. It refuses an origin that no
// browser sends.
func ParseOrigins(list string) (Origins, error) {
	var origins Origins
	for o := range strings.SplitSeq(list, ",") {
		o = strings.ToLower(strings.TrimSpace(o)) // the form that browsers send
		if o == "" {
			continue
		}
		if o != "*" && o != noOrigin {
			if err := checkOrigin(o); err != nil {
				return nil, err
			}
		}
		origins = append(origins, o)
	}
	return origins, nil
}

// checkOrigin returns an error if no browser sends such an origin.
func checkOrigin(o string) error {
	one := strings.Replace(o, "://*.", "://any.", 1) // an origin that o matches
	u, err := url.Parse(one)
	visible := !strings.ContainsFunc(o, func(r rune) bool { return r <= ' ' || r > '~' })
	if err != nil || u.Scheme == "" || u.Hostname() == "" || one != u.Scheme+"://"+u.Host || !visible {
		return fmt.Errorf("%q is not an origin; write only scheme and host, such as https://example.com (international names as xn--…), or *", o)
	}
	if strings.Contains(u.Host, "*") {
		return fmt.Errorf("%q matches nothing; use https://*.example.com, or * for any origin", o)
	}
	if domain, ok := strings.CutPrefix(u.Hostname(), "any."); ok && one != o && domain != "localhost" && !strings.Contains(domain, ".") {
		return fmt.Errorf("%q allows a whole top-level domain; write a longer name, as in https://*.example.com", o)
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

// Allow refuses browsers on pages of other origins. With a GET only these browsers send Origin. Comparing it with the
// server's own address is not enough, because proxies rewrite Host. If a browser says that the request comes from the
// same origin, Allow trusts it, because no page can make a browser say so.
func (o Origins) Allow(header http.Header, r *http.Request) error {
	if o.Greet(header, r) {
		return nil
	}
	origin := r.Header.Get("Origin")
	welcome(header, origin) // its page may read the reason of the refusal
	return &Error{Status: http.StatusForbidden, Reason: "origin", Sentence: fmt.Sprintf(
		"pages of %.200q may not subscribe here; add this origin to the allowed origins of the server (option -origins, or Options.Origins in Go)", origin)}
}

// Greet sets the headers that let a page of another origin read the response, and reports whether the request's origin
// may subscribe. It refuses nothing. A browser sends Origin with every POST and with the handshake of a WebSocket, also
// for its own site, and a proxy may have rewritten Host. Moreover, a client that knows a client id may act for it.
func (o Origins) Greet(header http.Header, r *http.Request) bool {
	header.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin != "" && (o.names(origin) || slices.Contains(o, "*") || origin == noOrigin && slices.Contains(o, noOrigin)) {
		welcome(header, origin)
		return true
	}
	return o.known(r)
}

// welcome lets pages of an origin read a response. It names the origin instead of "*": "if credentials mode is
// "include", then * is not allowed", in the words of the Fetch standard.
func welcome(header http.Header, origin string) {
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Allow-Credentials", "true")
}

// Preflight answers a browser that asks what a page of another origin may send. It reports whether the page may send
// anything.
func (o Origins) Preflight(header http.Header, r *http.Request, methods []string) bool {
	if r.Header.Get("Access-Control-Request-Method") == "" || !o.Greet(header, r) || header.Get("Access-Control-Allow-Origin") == "" {
		return false
	}
	header.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	// EventSource libraries that use fetch send these headers.
	header.Set("Access-Control-Allow-Headers", "Last-Event-ID, Cache-Control, Authorization, X-Requested-With, Content-Type, "+tokenHeader)
	header.Set("Access-Control-Max-Age", "7200") // the maximum of Chromium
	return true
}

// names reports whether the list names the origin. It never names "null", because every site can make such a page.
func (o Origins) names(origin string) bool {
	return origin != noOrigin && slices.ContainsFunc(o, func(pattern string) bool {
		scheme, domain, wildcard := strings.Cut(pattern, "*.")
		if !wildcard {
			return origin == pattern
		}
		// The text in place of the wildcard must be a part of a host name. It has no slash, no @ and no colon.
		name, below := strings.CutSuffix(strings.TrimPrefix(origin, scheme), "."+domain)
		return below && strings.HasPrefix(origin, scheme) && isHost(name) && !strings.Contains(name, ":")
	})
}

// known reports whether a request comes from this site, from a named origin, or from no page.
func (o Origins) known(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return origin == "" || o.names(origin) || r.Header.Get("Sec-Fetch-Site") == "same-origin" || SameHost(origin, r.Host)
}

// SameHost reports whether an origin belongs to the host.
func SameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// PublicOrigin returns the scheme and host at which the browser reached this server. Show the result only to that
// browser, because anybody can send these headers.
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

// firstOf returns the first value of a header. Each proxy may have added its own value behind it, so the first one is
// the browser's.
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
