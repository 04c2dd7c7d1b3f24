package headcount

import (
	"crypto/tls"
	"net"

	"headcount/internal/tlsconn"
)

// TLSListener returns a listener that accepts TLS on l, as tls.NewListener does. Streams over TLS 1.3 and HTTP/1.1 that
// come through it cost as little as plain ones. They need no goroutine, no buffer, and a tenth of the memory. Serve it
// with http.Server.Serve, not ServeTLS:
//
//	err := server.Serve(headcount.TLSListener(l, config))
//
// config must name the protocols in NextProtos. Use "h2" and "http/1.1", or "http/1.1" alone, which makes the streams
// of all browsers cheap. It may be changed as far as tls.Config allows that. Streams through any other listener work
// too, at the cost of net/http.
//
// The listener reads the traffic secret of the server's side of each connection through KeyLogWriter. It keeps the
// secret until the stream begins or the connection ends, and shows it to nobody. A KeyLogWriter of config still gets
// all lines.
func TLSListener(l net.Listener, config *tls.Config) net.Listener {
	return tlsconn.NewListener(l, config)
}
