package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// These functions detect the network path of a request.

// proxied reports whether the request came through a proxy, or may have. A proxy may carry many clients on one HTTP/2
// connection, so the end of the connection says nothing about one client.
func proxied(r *http.Request) bool {
	_, local := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr) // no remote client uses it
	return r.ProtoMajor >= 2 || local || Forwarded(r) || silentlyForwarded(r)
}

// Forwarded reports whether a proxy has added a header.
func Forwarded(r *http.Request) bool {
	return r.Header.Get("Via") != "" || r.Header.Get("Forwarded") != "" || r.Header.Get("X-Forwarded-For") != ""
}

// silentlyForwarded detects proxies that by default add no header with their name. Nginx speaks HTTP/1.0. Every browser
// asks for keep-alive, but nginx and Node's http-proxy turn it into "close", and HAProxy drops it. Privoxy cannot be
// distinguished from a browser, nor a program that connects in the same way from these proxies.
func silentlyForwarded(r *http.Request) bool {
	return !r.ProtoAtLeast(1, 1) || browser(r) && !strings.EqualFold(r.Header.Get("Connection"), "keep-alive")
}

// relayed reports whether the client asked for another address than the one at which its request arrived. Then
// something in between passed the request on. It may be a TCP relay, which adds no header and keeps its side open after
// the client has vanished. It may also be a port mapping of the kernel, which does no harm. A relay at the port of the
// name cannot be detected.
//
// Some proxies put another address into Host. So "client watch" also sends the address in Referer. A browser sends the
// URL of its page in Referer, which may be on any site.
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

// browser reports whether a browser sent the request. Antivirus that holds back the last event affects only browsers,
// see wire.Push.
func browser(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "Mozilla/") }
