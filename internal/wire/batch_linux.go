package wire

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"headcount/internal/hub"
)

// shared is what many subscribers get in the same slice of a pass. It is made once.
type shared struct {
	group   *group // the group of the slice; nil outside of passes
	valid   bool
	at      hub.Position
	chunked bool
	batch   hub.Batch
	joined  []byte // the bytes of batch in one piece
	buffer  []byte // for joined
}

// flush writes what c still has to get, as far as the socket takes it. A requested ping and the end do not wait until a
// slow subscriber has caught up.
func (l *loop) flush(c *Conn) {
	if c.tls != nil && !l.openTLS(c) {
		return
	}
	for more := true; more; {
		var b *hub.Batch
		b, more = l.due(c)
		if b != nil {
			if !l.send(c, b) {
				return
			}
			if c.push {
				c.event = time.Since(l.start)
				l.pushLater(c)
			}
		}
		switch {
		case c.over:
			l.end(c)
			return
		case c.end:
			c.over = true
			c.sub.Farewell(&l.batch, c.retry)
			if l.send(c, &l.batch) {
				l.end(c)
			}
			return
		case c.ping:
			c.sub.Heartbeat(&l.batch)
			sent := l.send(c, &l.batch)
			c.ping = !sent && c.sub.Clean() && !c.owes() // none of it went out, so try again later
			if !sent {
				return
			}
		}
	}
}

// due returns what to write to c now, or nil, and whether there may be more.
func (l *loop) due(c *Conn) (b *hub.Batch, more bool) {
	if (c.ping || c.end) && c.sub.Rest(&l.batch) {
		return &l.batch, true
	}
	b = l.pending(c)
	return b, b != nil && b.Full() // otherwise news that came since then has woken the loop
}

// pending returns what c has to get next, or nil. In a pass most subscribers have the same position and get the same
// bytes.
func (l *loop) pending(c *Conn) *hub.Batch {
	s := &l.shared
	if s.group != c.group || !c.sub.Clean() {
		if c.sub.Pending(&l.batch) {
			return &l.batch
		}
		return nil
	}
	if !s.valid || s.at != c.sub.Position() || s.chunked != c.sub.Chunked() {
		l.submit() // queued sends use the bytes that change now
		s.valid, s.at, s.chunked = true, c.sub.Position(), c.sub.Chunked()
		c.sub.Pending(&s.batch)
		s.joined = join(&s.buffer, &s.batch)
	}
	if s.batch.Len() == 0 {
		return nil
	}
	return &s.batch
}

// offer delivers to c, which is not blocked, what it has to get in a pass. It uses the ring if that is one batch which
// the others get as well.
func (l *loop) offer(c *Conn) {
	b := l.pending(c)
	switch {
	case b == nil:
	case l.ring == nil || b != &l.shared.batch || b.Full() || c.tls != nil && !ringTakes(c.tls, b):
		l.flush(c)
	case l.ring.add(c, l.sealForRing(c, l.shared.joined)):
		l.submit()
	}
}

// submit sends what is queued in the ring.
func (l *loop) submit() {
	if l.ring == nil || l.ring.n == 0 {
		return
	}
	now := time.Since(l.start)
	works := l.ring.submit(func(c *Conn, p []byte, n int, errno syscall.Errno) {
		b := &l.shared.batch
		if c.tls != nil {
			c.sub.Advance(b, b.Len())
		}
		if l.sent(c, b, p, n, errno) && c.push {
			c.event = now
			l.pushLater(c)
		}
	})
	if !works {
		l.ring.close()
		l.ring = nil
	}
}

// join returns the bytes of b in one piece. It uses buffer if there are several pieces.
func join(buffer *[]byte, b *hub.Batch) []byte {
	if len(b.Bytes) == 1 {
		return b.Bytes[0]
	}
	p := (*buffer)[:0]
	for _, part := range b.Bytes {
		p = append(p, part...)
	}
	*buffer = p
	return p
}

// end closes a stream whose last byte has been written. It first discards unread bytes from the client. Closing with
// unread bytes would reset the connection, and the client could lose the last bytes.
func (l *loop) end(c *Conn) {
	l.drain(c)
	l.gone(c, Ended)
}

func (l *loop) drain(c *Conn) {
	l.buffer = append(l.buffer[:0], make([]byte, 4<<10)...)
	for range 16 {
		if n, err := unix.Read(int(c.fd), l.buffer); n <= 0 || err != nil {
			return
		}
	}
}

// send writes b and reports whether all of it went out and c is still alive. If the socket is full, the rest goes out
// when there is room again.
func (l *loop) send(c *Conn, b *hub.Batch) bool {
	p := l.shared.joined
	if b != &l.shared.batch {
		p = join(&l.buffer, b)
	}
	if c.tls != nil {
		return l.sendSealed(c, b, p)
	}
	n, errno := write(c.fd, p)
	return l.sent(c, b, p, n, errno)
}

// sent handles the result of a write of p, which took n bytes. p is b itself, or the records that b was sealed in.
func (l *loop) sent(c *Conn, b *hub.Batch, p []byte, n int, errno syscall.Errno) bool {
	if !c.sub.Signals() {
		c.heard = l.now
	}
	if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
		l.gone(c, Gone)
		return false
	}
	if c.tls != nil {
		c.tls.Keep(p[n:])
	} else {
		c.sub.Advance(b, n)
	}
	if n == len(p) {
		return true
	}
	c.blocked = true
	l.watchFor(c)
	return false
}

// write is write(2) without telling Go's scheduler. This is fine because the socket does not block. At most it copies
// 64 KiB.
func write(fd int32, p []byte) (n int, errno syscall.Errno) {
	r, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}
