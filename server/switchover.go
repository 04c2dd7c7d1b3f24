package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"headcount/internal/wire"
)

// switchover routes public requests during a handover to another process.
type switchover struct {
	idle    *idleConns
	closing atomic.Bool // connections close after their next response, because this process is about to hand over
	next    atomic.Pointer[successor]

	paused atomic.Pointer[chan struct{}] // closed when it is known which process serves; nil while it is
}

// pause makes requests that show the state wait until resume.
func (p *switchover) pause() {
	c := make(chan struct{})
	p.paused.Store(&c)
}

func (p *switchover) resume() {
	if c := p.paused.Swap(nil); c != nil {
		close(*c)
	}
}

// around forwards the requests that only the next process can answer. The others find that out in package headcount,
// after their body has arrived.
func (p *switchover) around(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _ := r.Context().Value(connKey{}).(net.Conn)
		if overTLS(conn) {
			r.TLS = new(tls.ConnectionState)
		}
		if r.ProtoMajor == 1 {
			p.idle.serves(conn)
		}
		if p.closing.Load() {
			w.Header().Set("Connection", "close")
		}
		if (r.Method == http.MethodGet || r.Method == http.MethodHead) && !strings.HasSuffix(r.URL.Path, "/events") {
			if c := p.paused.Load(); c != nil {
				<-*c
			}
			if next := p.next.Load(); next != nil {
				next.ServeHTTP(w, r)
				return
			}
		}
		handler.ServeHTTP(w, r)
	})
}

// connKey is the key of the context value that is the connection of a request.
type connKey struct{}

// connContext implements http.Server.ConnContext.
func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// relayed is a connection to another process, which relays one request and its response. It has the addresses of the
// client's connection.
type relayed struct {
	net.Conn
	local, remote net.Addr
	secure        bool
}

// LocalAddr implements [net.Conn].
func (c *relayed) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements [net.Conn].
func (c *relayed) RemoteAddr() net.Addr { return c.remote }

// overTLS reports whether a request came to another process over TLS, which relays it.
func overTLS(c net.Conn) bool {
	read, _ := c.(*wire.Preread)
	if read == nil {
		return false
	}
	r, ok := read.Conn.(*relayed)
	return ok && r.secure
}
