package wire

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"headcount/internal/hub"
	"headcount/internal/tlsconn"
)

// Socket is a connection that a loop can take: its descriptor, and what seals its records if it is TLS.
type Socket struct {
	fd  int
	tls *tlsconn.Sealer
}

// FD returns the descriptor.
func (s Socket) FD() int { return s.fd }

// TLS reports whether the loop is to make TLS records.
func (s Socket) TLS() bool { return s.tls != nil }

// Format is for package fmt: a socket has keys.
func (s Socket) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "[socket %d]", s.fd) }

// Close closes a socket that [Epoll.Take] did not get.
func (s Socket) Close() {
	if s.tls != nil {
		s.tls.Wipe()
	}
	_ = unix.Close(s.fd)
}

// Detach takes a hijacked connection that sub is the answer on away from Go's runtime, and from crypto/tls. Over TLS this
// writes the opening of sub, by which the takeover is proven. After an error conn still works; after a [*NotDetached]
// [Stream.Run] goes on with what sub still has, through a [ConnWriter].
func Detach(conn net.Conn, sub *hub.Sub) (Socket, error) {
	if c, ok := conn.(*tls.Conn); ok {
		return detachTLS(c, sub)
	}
	fd, err := dup(conn)
	if err != nil {
		return Socket{}, err
	}
	_ = conn.Close() // the connection lives on in fd
	return Socket{fd: fd}, nil
}

func detachTLS(c *tls.Conn, sub *hub.Sub) (Socket, error) {
	below, err := tlsconn.Below(c)
	if err != nil {
		return Socket{}, &NotDetached{OtherListener, err}
	}
	if err := drop(c); err != nil {
		return Socket{}, &NotDetached{ReaderGone, err}
	}
	proof, err := tlsconn.Watch(c)
	if err != nil {
		return Socket{}, &NotDetached{OtherCipher, err}
	}
	fd, err := dup(below)
	if err != nil {
		return Socket{}, err
	}
	opening, err := writeOpening(c, sub)
	if err != nil {
		_ = unix.Close(fd)
		return Socket{}, &NotDetached{ReaderGone, err}
	}
	sealer, err := proof.Sealer(opening)
	if err != nil {
		_ = unix.Close(fd)
		return Socket{}, &NotDetached{NotProven, err}
	}
	_ = below.Close() // not c, which would write its close_notify
	return Socket{fd, sealer}, nil
}

// drop reads what crypto/tls has read and nobody wanted: rubbish behind the request, or the reader's goodbye. What is still
// in the socket stays there.
func drop(c *tls.Conn) error {
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	rubbish := make([]byte, 512)
	for {
		_, err := c.Read(rubbish)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return c.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return err
		}
	}
}

// writeOpening writes the first bytes of sub through crypto/tls.
func writeOpening(c *tls.Conn, sub *hub.Sub) ([]byte, error) {
	var b hub.Batch
	sub.Rest(&b)
	var buffer []byte
	opening := join(&buffer, &b)
	if err := c.SetWriteDeadline(time.Now().Add(StallTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.Write(opening); err != nil {
		return nil, err
	}
	sub.Advance(&b, b.Len())
	return opening, nil
}

// dup returns a second descriptor of the connection, which stays when c is closed.
func dup(c net.Conn) (int, error) {
	var raw syscall.RawConn
	var err error
	switch c := c.(type) { // and no other kind: what wraps a connection may change its bytes
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	default:
		return -1, &NotDetached{OtherListener, fmt.Errorf("connection is a %T", c)}
	}
	if err != nil {
		return -1, fmt.Errorf("duplicate descriptor: %w", err)
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return -1, fmt.Errorf("duplicate descriptor: %w", err)
	}
	if dupErr != nil {
		return -1, fmt.Errorf("duplicate descriptor: %w", dupErr)
	}
	return fd, nil
}
