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

// Socket is a connection that a loop can take. It has the descriptor, and the sealer of its records if it is TLS.
type Socket struct {
	fd  int
	tls *tlsconn.Sealer
}

// FD returns the descriptor.
func (s Socket) FD() int { return s.fd }

// TLS reports whether the loop should make TLS records.
func (s Socket) TLS() bool { return s.tls != nil }

// Format is for package fmt. It hides the keys of the socket.
func (s Socket) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "[socket %d]", s.fd) }

// Close closes a socket that [Epoll.Take] did not get.
func (s Socket) Close() {
	if s.tls != nil {
		s.tls.Wipe()
	}
	_ = unix.Close(s.fd)
}

// Detach takes a hijacked connection away from Go's runtime, and from crypto/tls. sub is the answer on that connection.
// Over TLS Detach writes the opening of sub, which proves the takeover. After an error conn still works. After a
// [*NotDetached] error [Stream.Run] continues with what sub still has, through a [ConnWriter].
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
	_ = below.Close() // not c, because it would write its close_notify
	return Socket{fd, sealer}, nil
}

// drop discards what crypto/tls has read already. This is rubbish after the request, or a close_notify of the client.
// What is still in the socket stays there.
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

// dup returns a second descriptor of the connection, which stays open when c is closed.
func dup(c net.Conn) (int, error) {
	var raw syscall.RawConn
	var err error
	switch c := c.(type) { // no other kind, because a wrapper may change the bytes
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	case *Preread:
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
