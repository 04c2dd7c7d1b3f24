package load

import (
	"crypto/tls"
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
	stream  *stream
	records *records
	err     error
}

// secure has the handshake of a stream done beside the generator, which is told by g.wake.
func (g *Generator) secure(s *stream) {
	s.phase = shaking
	_ = unix.EpollCtl(g.epoll, unix.EPOLL_CTL_DEL, s.fd, nil) // crypto/tls reads now
	request := g.config.request(s.number)
	go func() {
		r, err := shake(s.fd, request)
		g.shaken <- shaken{s, r, err}
		one := [8]byte{1}
		_, _ = unix.Write(g.wake, one[:])
	}()
}

// shake does the handshake and sends the request. It reads nothing after the handshake, so the next record of the
// server is the first one with the keys of the stream.
func shake(fd int, request []byte) (*records, error) {
	var log keyLog
	// Who the server is does not matter here. The key exchange is one that all servers have: Debian's OpenSSL 3.0 lacks
	// the post-quantum one of Go and of browsers, which would compare two amounts of work.
	c := tls.Client(socket{fd: fd}, &tls.Config{
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}, InsecureSkipVerify: true, KeyLogWriter: &log,
	})
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	return newRecords(c.ConnectionState().CipherSuite, log.secret)
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
			s.records, s.phase = done.records, inHeader
			if err := g.watch(s); err != nil {
				g.end(s, err)
			}
		default:
			return
		}
	}
}

// read reads into b and returns the plaintext in it, and whether there may be more to read. The error is EAGAIN when
// there is nothing now, and io.EOF at the end.
func (s *stream) read(b []byte) (p []byte, more bool, err error) {
	kept := 0
	if s.records != nil {
		kept = copy(b, s.records.rest)
	}
	n, err := unix.Read(s.fd, b[kept:])
	switch {
	case err != nil:
		return nil, false, err
	case n == 0:
		return nil, false, io.EOF
	}
	more = n == len(b)-kept
	if p = b[:kept+n]; s.records != nil {
		p, err = s.records.open(p)
	}
	return p, more, err
}

// socket is a descriptor that does not block, as crypto/tls wants it for a handshake.
type socket struct {
	net.Conn // nil: nothing else is called
	fd       int
}

func (c socket) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(c.fd, b)
		switch {
		case err == unix.EAGAIN:
			if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, 30_000); n == 0 {
				return 0, os.ErrDeadlineExceeded
			}
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (c socket) Write(b []byte) (int, error)      { return unix.Write(c.fd, b) }
func (c socket) SetDeadline(time.Time) error      { return nil }
func (c socket) SetReadDeadline(time.Time) error  { return nil }
func (c socket) SetWriteDeadline(time.Time) error { return nil }
