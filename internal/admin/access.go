package admin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"headcount/internal/auth"
	"headcount/internal/httpapi"
)

// checkAccess refuses pages of other sites. The admin listener trusts every client that can reach it, and a browser on
// the same machine can reach it from any page. See docs/decisions/0023.
func checkAccess(w http.ResponseWriter, r *http.Request, name string) error {
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	if !ownName(r.Host, name) && r.URL.Path != "/metrics" { // scrapers use any name, and metrics contain only numbers
		return httpapi.Refuse(http.StatusForbidden, "origin",
			"%.200q is not a known name of this server; use its IP address, localhost, or the host in -admin", r.Host)
	}
	if foreign(r) {
		return httpapi.Refuse(http.StatusForbidden, "origin", "pages of other sites may not read this server; open /stats directly")
	}
	return nil
}

// ownName reports whether the host name of a request cannot belong to a stranger. The owner of a name decides which
// address it resolves to (DNS rebinding). So a stranger's name can resolve to this server, and then a page at that name
// has the same origin as this server. Nobody owns an address or a name without a dot. admin is the name that the
// operator configured.
func ownName(host, admin string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return !strings.Contains(name, ".") || strings.HasSuffix(name, ".localhost") || strings.EqualFold(name, admin)
}

// foreign reports whether a page of another origin makes the request. Following a link to /stats does not count,
// because the other page cannot see the response.
func foreign(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	if slices.Contains([]string{"cross-site", "same-site"}, site) {
		link := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
		return !link || r.URL.Path != "/" && r.URL.Path != "/stats"
	}
	// Browsers send Sec-Fetch-Site only to https and to localhost.
	origin := r.Header.Get("Origin")
	return origin != "" && site == "" && !auth.SameHost(origin, r.Host)
}
