package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// handshakes is how many are under way at a time: each has a thread.
const handshakes = 64

// shaken is a stream whose handshake is over and whose request is on its way, or why not.
type shaken struct {
	stream *stream
	err    error
}

// secure has the handshake of a stream done beside the generator, which is told by g.wake.
func (g *Generator) secure(s *stream) {
	s.phase = shaking
	_ = unix.EpollCtl(g.epoll, unix.EPOLL_CTL_DEL, s.fd, nil) // crypto/tls reads now
	s.socket = &socket{fd: s.fd, wait: true}
	// Who the server is does not matter here. The key exchange is one that all servers have: Debian's OpenSSL 3.0 lacks
	// the post-quantum one of Go and of browsers, which would compare two amounts of work.
	s.tls = tls.Client(s.socket, &tls.Config{
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}, InsecureSkipVerify: true,
	})
	request := g.config.request(s.number)
	go func() {
		_, err := s.tls.Write(request)
		g.shaken <- shaken{s, err}
		one := [8]byte{1}
		_, _ = unix.Write(g.wake, one[:])
	}()
}

// takeShaken goes on with the streams whose handshake is over.
func (g *Generator) takeShaken() {
	var count [8]byte
	_, _ = unix.Read(g.wake, count[:])
	for {
		select {
		case done := <-g.shaken:
			s := done.stream
			if done.err != nil {
				g.end(s, fmt.Errorf("shake hands: %w", done.err))
				continue
			}
			s.socket.wait, s.phase = false, inHeader
			if err := g.watch(s); err != nil {
				g.end(s, err)
				continue
			}
			g.serve(s, unix.EPOLLIN) // crypto/tls may have read the answer by now
		default:
			return
		}
	}
}

// read reads plaintext; the error is EAGAIN when there is no more now, and io.EOF at the end.
func (s *stream) read(b []byte) (int, error) {
	if s.tls == nil {
		n, err := unix.Read(s.fd, b)
		if err == nil && n == 0 {
			return 0, io.EOF
		}
		return n, err
	}
	n, err := s.tls.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, unix.EAGAIN
	}
	return n, err
}

// socket is a descriptor that does not block, as crypto/tls wants it.
type socket struct {
	net.Conn // nil: nothing else is called
	fd       int
	wait     bool // for data, else the deadline is always over
}

func (c *socket) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(c.fd, b)
		switch {
		case err == unix.EAGAIN && c.wait:
			if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, 30_000); n == 0 {
				return 0, os.ErrDeadlineExceeded
			}
		case err == unix.EAGAIN:
			return 0, os.ErrDeadlineExceeded
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (c *socket) Write(b []byte) (int, error)      { return unix.Write(c.fd, b) }
func (c *socket) SetDeadline(time.Time) error      { return nil }
func (c *socket) SetReadDeadline(time.Time) error  { return nil }
func (c *socket) SetWriteDeadline(time.Time) error { return nil }
