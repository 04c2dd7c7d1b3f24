package web

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/labstack/echo/v4"
)

// clientAddress returns how to find the address of a request's client: that of the
// connection, unless it belongs to a trusted proxy; then the last address of
// X-Forwarded-For that does not.
func clientAddress(trusted []netip.Prefix) echo.IPExtractor {
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range trusted {
		bits := p.Addr().BitLen()
		options = append(options, echo.TrustIPRange(&net.IPNet{
			IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), bits),
		}))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}

// addressKey is what the streams of one client are counted under: its address, of
// IPv6 the /64, which is what one client has.
func addressKey(extract echo.IPExtractor, r *http.Request) netip.Prefix {
	a, err := netip.ParseAddr(extract(r))
	if err != nil {
		return netip.Prefix{} // all that have no address are one
	}
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // bits fits the address
	return p
}
