package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// What a request tells of the path that it took.

// proxied reports whether the request came through a proxy, or may have: HTTP/2 is what a
// proxy speaks to many readers on one connection, so its end says nothing of one.
func proxied(r *http.Request) bool {
	_, local := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr) // nobody comes that way from afar
	return r.ProtoMajor >= 2 || local || Forwarded(r) || silentlyForwarded(r)
}

// Forwarded reports whether a proxy on the way has said so.
func Forwarded(r *http.Request) bool {
	return r.Header.Get("Via") != "" || r.Header.Get("Forwarded") != "" || r.Header.Get("X-Forwarded-For") != ""
}

// silentlyForwarded recognizes the proxies that name themselves in no header unless they are
// told to. Nginx speaks HTTP/1.0, and every browser asks for keep-alive: nginx and
// Node's http-proxy make "close" of it, HAProxy drops it. Nothing tells Privoxy from a
// browser, and nothing tells these from a program that connects like them.
func silentlyForwarded(r *http.Request) bool {
	return !r.ProtoAtLeast(1, 1) || browser(r) && !strings.EqualFold(r.Header.Get("Connection"), "keep-alive")
}

// relayed reports whether the client asked for another address than the one at which its request arrived. So something
// between them passed it on: a relay of TCP, which says nothing of itself and keeps its side open when the client has
// vanished, or the kernel, by a port mapping, which does no harm. Nothing tells a relay at the port that the name stands
// for from no relay.
//
// Some proxies put another address into Host. So "client watch" says in Referer too where it asked; a browser says there
// which page asked, which may be anybody's.
func relayed(r *http.Request) bool {
	arrived, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	asked, tls := r.Host, r.TLS != nil
	if from, err := url.Parse(r.Referer()); err == nil && from.Host != "" && !browser(r) {
		asked, tls = from.Host, from.Scheme == "https"
	}
	if !ok || asked == "" {
		return false
	}
	host, port, err := net.SplitHostPort(asked)
	if err != nil {
		host, port = strings.Trim(asked, "[]"), "80"
		if tls {
			port = "443"
		}
	}
	if port != strconv.Itoa(arrived.Port) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.WithZone("").Unmap() != arrived.AddrPort().Addr().WithZone("").Unmap()
}

// browser reports whether a browser sent the request. Only they have antivirus between
// them and the network that holds back the last event, see wire.Push.
func browser(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "Mozilla/") }
