package wire

import (
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"headcount/internal/hub"
	"headcount/internal/tlsconn"
)

// ringRecord is the maximum length of a record that goes out by the ring. The ring keeps many of them at once.
const ringRecord = 4 << 10

// ringTakes reports whether b can be sealed for the ring.
func ringTakes(s *tlsconn.Sealer, b *hub.Batch) bool { return b.Len() <= ringRecord && !s.Spent() }

// sealForRing returns p as c must get it. Over TLS it is sealed. The result is valid until the ring is empty again.
func (l *loop) sealForRing(c *Conn, p []byte) []byte {
	if c.tls == nil {
		return p
	}
	start := len(l.ring.space)
	l.ring.space = l.ciphers.seal(c, l.ring.space, p) // queued records stay where they are, even if this reallocates the space
	return l.ring.space[start:]
}

// owes reports whether sealed bytes have not gone out yet.
func (c *Conn) owes() bool { return c.tls != nil && len(c.tls.Rest()) > 0 }

// openTLS makes room for the next record. It writes what is left of the last records, and reports whether all of it
// went out. It also makes sure that a key is not used too often.
func (l *loop) openTLS(c *Conn) bool {
	if c.tls.Spent() && !c.end {
		c.end, c.retry = true, time.Second+rand.N(2*time.Second)
	}
	if !c.owes() {
		return true
	}
	n, errno := write(c.fd, c.tls.Rest())
	return l.sent(c, nil, c.tls.Rest(), n, errno)
}

// sendSealed writes p, which is the bytes of b, in records. It keeps a record that did not go out completely. What
// comes after it has not been sealed yet.
func (l *loop) sendSealed(c *Conn, b *hub.Batch, p []byte) bool {
	for done := 0; done < len(p); {
		size := min(len(p)-done, tlsconn.MaxPlaintext)
		l.sealed = l.ciphers.seal(c, l.sealed[:0], p[done:done+size])
		if done += size; done == len(p) && c.over {
			l.sealed = c.tls.CloseNotify(l.sealed)
		}
		n, errno := write(c.fd, l.sealed)
		if !l.sent(c, b, l.sealed, n, errno) {
			c.sub.Advance(b, done)
			return false
		}
	}
	c.sub.Advance(b, len(p))
	return true
}

// hear handles input from a client over TLS. An alert means that the client leaves. "Any data received after a closure
// alert has been received MUST be ignored" (RFC 8446, 6.1). The loop cannot decrypt any other input, and a KeyUpdate
// would need an answer, so the stream ends cleanly.
func (l *loop) hear(c *Conn) {
	l.buffer = append(l.buffer[:0], make([]byte, 4<<10)...)
	n, err := unix.Read(int(c.fd), l.buffer)
	if n <= 0 && (err == unix.EAGAIN || err == unix.EINTR) {
		return
	}
	if n <= 0 || isAlert(l.buffer[:n]) {
		l.leave(c)
		return
	}
	c.deaf = true
	if !l.watchFor(c) || c.end {
		return
	}
	c.end, c.retry = true, time.Second+rand.N(2*time.Second)
	if !c.blocked {
		l.flush(c)
	}
}

// isAlert reports whether p is one encrypted record of the size of an alert, which is two bytes, the content type and a
// tag. All alerts end the connection.
func isAlert(p []byte) bool {
	const size = 2 + tlsconn.Overhead
	return len(p) == size && p[0] == 23 && p[3] == 0 && p[4] == size-5
}

// leave closes a stream whose client has left. Over TLS it answers the client's close_notify.
func (l *loop) leave(c *Conn) {
	if c.tls != nil && !c.owes() && !c.over {
		l.drain(c)
		l.sealed = c.tls.CloseNotify(l.sealed[:0])
		_, _ = write(c.fd, l.sealed) // if it does not fit, the end of the connection is enough
	}
	l.gone(c, Gone)
}
