// Package remotetest gives a remote.Server a real HTTP server at the other end of net.Pipe, so that both live in a synctest
// bubble, where time passes at once when all wait.
package remotetest

import (
	"context"
	"net"
	"net/http"
	"sync"

	"headcount/client/remote"
)

// Start serves whatever s asks for, whichever host it names. Stop closes the connections too.
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

// pipes hands the far ends of net.Pipe to a server.
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
