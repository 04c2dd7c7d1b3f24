package auth

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Address returns the prefix under which limits count a request. It is the client's IPv4 address, or the /64 of its
// IPv6 address, because one client has a whole /64. Requests without an address share one prefix.
//
// It is the address of the connection, unless that belongs to a trusted proxy. Then it is the last address of
// X-Forwarded-For that does not belong to one.
func Address(r *http.Request, trusted []netip.Prefix) netip.Prefix {
	return network(client(r, trusted))
}

// Peer returns the prefix under which limits count a connection. proxy reports whether it belongs to a trusted proxy,
// which carries the requests of many clients.
func Peer(c net.Conn, trusted []netip.Prefix) (from netip.Prefix, proxy bool) {
	if _, ok := c.LocalAddr().(*net.UnixAddr); ok {
		return netip.Prefix{}, true
	}
	remote := c.RemoteAddr()
	if remote == nil { // its client has reset it
		return netip.Prefix{}, false
	}
	var a netip.Addr
	if tcp, ok := remote.(*net.TCPAddr); ok { // every connection comes here, and to parse text costs 2 µs
		a = tcp.AddrPort().Addr().Unmap().WithZone("")
	} else {
		a = parse(remote.String())
	}
	return network(a), isTrusted(a, trusted)
}

func network(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // bits always fits the address
	return p
}

func client(r *http.Request, trusted []netip.Prefix) netip.Addr {
	direct := parse(r.RemoteAddr)
	if _, ok := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); ok {
		direct = netip.AddrFrom4([4]byte{127, 0, 0, 1}) // a Unix socket connects from this machine
	}
	if !direct.IsValid() || !isTrusted(direct, trusted) {
		return direct
	}
	last := direct
	if len(r.Header.Values("X-Forwarded-For")) == 0 {
		return direct
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		a := parse(strings.TrimSpace(hop))
		if !a.IsValid() {
			return direct // the header cannot be trusted
		}
		last = a
		if !isTrusted(a, trusted) {
			break
		}
	}
	return last
}

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// parse reads an address. Azure and IIS add a port, which it drops.
func parse(text string) netip.Addr {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		with, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}
		}
		a = with.Addr()
	}
	return a.Unmap().WithZone("")
}
