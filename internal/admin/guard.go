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

// guard keeps pages of other sites away from the admin listener, which trusts whoever can
// reach it: a browser on the same machine can, whatever page it is on. See
// docs/decisions/0023.
func guard(w http.ResponseWriter, r *http.Request, name string) error {
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	if !ownName(r.Host, name) && r.URL.Path != "/metrics" { // scrapers come by name, and there are only numbers
		return httpapi.Refuse(http.StatusForbidden, "origin",
			"%.200q is not a known name of this server; use its IP address, localhost, or the host in -admin", r.Host)
	}
	if foreign(r) {
		return httpapi.Refuse(http.StatusForbidden, "origin", "pages of other sites may not read this server; open /stats directly")
	}
	return nil
}

// ownName reports whether no stranger can have given this server the name by which a request
// came. A page of a stranger's name is of the same origin as all that answers to that
// name, and who owns the name says whose address it has (DNS rebinding). An address is
// nobody's, and so is a name without a dot. admin is the name that the operator gave.
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

// foreign reports whether a page of another origin makes the request. Following a link to the
// page of /stats is none: the other page sees nothing of it.
func foreign(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	if slices.Contains([]string{"cross-site", "same-site"}, site) {
		link := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
		return !link || r.URL.Path != "/" && r.URL.Path != "/stats"
	}
	// Browsers say Sec-Fetch-Site only to https and to localhost.
	origin := r.Header.Get("Origin")
	return origin != "" && site == "" && !auth.SameHost(origin, r.Host)
}
