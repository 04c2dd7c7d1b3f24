// Package remotetest connects a remote.Server to a real HTTP server over net.Pipe. Both run in a synctest bubble, in
// which time advances at once when all goroutines wait.
package remotetest

import (
	"context"
	"net"
	"net/http"
	"sync"

	"headcount/client/remote"
)

// Start serves all requests of s for any host. stop closes the connections too.
func Start(s *remote.Server, h http.Handler) (stop func()) {
	listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(listener) }() // it ends with ErrServerClosed
	transport := s.HTTP.Transport.(*http.Transport)
	transport.Proxy = nil
	transport.DialContext = listener.dial
	return func() {
		s.Close()
		server.Close()
	}
}

// pipes is a listener that accepts the other ends of net.Pipe.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "bubble"} }
