package rig

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
)

// How a subscriber's connections are made, and how they end.

// send sends a request and returns the answer, whose body must be closed.
func (s *Subscriber) send(req *http.Request) (*http.Response, error) {
	if s.Transport != nil {
		s.setup.Do(func() { s.Transport.DialContext = s.dial })
		return s.Transport.RoundTrip(req)
	}
	c, err := s.dial(req.Context(), "tcp", req.URL.Host)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(req.Context(), func() { c.Close() })
	hangUp := func() error {
		stop()
		return c.Close()
	}
	if err = req.Write(c); err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(bufio.NewReaderSize(c, 16<<10), req); err == nil {
			resp.Body = &body{resp.Body, hangUp}
			return resp, nil
		}
	}
	_ = hangUp()
	return nil, err
}

// body is a body whose Close closes the connection. Close of net/http's body would read the stream to its end.
type body struct {
	io.Reader
	hangUp func() error
}

func (b *body) Close() error { return b.hangUp() }

func (s *Subscriber) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if s.isDead() {
		return nil, net.ErrClosed
	}
	s.whileFrozen()
	var d net.Dialer
	if s.From != nil {
		d.LocalAddr = &net.TCPAddr{IP: s.From}
	}
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c.(*net.TCPConn))
	return &conn{c, s}, nil
}

// conn is a connection of a subscriber. While it is frozen, it neither reads nor writes, and the kernel does not tell
// the peer.
type conn struct {
	net.Conn
	owner *Subscriber
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.owner.whileFrozen()
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.owner.whileFrozen()
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	c.owner.mu.Lock()
	c.owner.conns = slices.DeleteFunc(c.owner.conns, func(other *net.TCPConn) bool { return other == c.Conn })
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// Cut breaks the connections in the middle of whatever they are doing, with RST instead of FIN if abruptly is set. It
// reports whether there were any.
func (s *Subscriber) Cut(abruptly bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if abruptly {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
		s.cut = true
	}
	had := len(s.conns) > 0
	s.conns = nil
	return had
}

// Die ends the subscriber as the server sees it. It makes no more connections, and end is called for those that it
// has.
func (s *Subscriber) Die(end func(*net.TCPConn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	for _, c := range s.conns {
		end(c)
	}
}

func (s *Subscriber) isDead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

// Freeze stops the subscriber in the middle of whatever it is doing, like a stopped process.
func (s *Subscriber) Freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen == nil {
		s.frozen = make(chan struct{})
	}
}

// Thaw resumes a frozen subscriber.
func (s *Subscriber) Thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen != nil {
		close(s.frozen)
		s.frozen = nil
	}
}

// whileFrozen waits while the subscriber is frozen.
func (s *Subscriber) whileFrozen() {
	s.mu.Lock()
	frozen := s.frozen
	s.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}
