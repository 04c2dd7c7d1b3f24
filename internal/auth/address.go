package auth

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Address returns what the streams of a request's client are counted under: its address, of
// IPv6 the /64, which is what one client has. All that have none are one.
//
// It is the address of the connection, unless that belongs to a trusted proxy; then it is the
// last address of X-Forwarded-For that does not.
func Address(r *http.Request, trusted []netip.Prefix) netip.Prefix {
	return network(client(r, trusted))
}

// Peer returns what a connection counts under, and whether it is a trusted proxy's, which has those of many clients.
func Peer(c net.Conn, trusted []netip.Prefix) (from netip.Prefix, proxy bool) {
	if _, ok := c.LocalAddr().(*net.UnixAddr); ok {
		return netip.Prefix{}, true
	}
	a := parse(c.RemoteAddr().String())
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
	p, _ := a.Prefix(bits) // bits fits the address
	return p
}

func client(r *http.Request, trusted []netip.Prefix) netip.Addr {
	direct := parse(r.RemoteAddr)
	if _, ok := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); ok {
		direct = netip.AddrFrom4([4]byte{127, 0, 0, 1}) // what comes by a Unix socket is on this machine
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
			return direct // all of it is worth nothing
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

// parse reads an address, with or without the port that Azure and IIS put behind it.
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
