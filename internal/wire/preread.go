package wire

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Preread is a connection of net/http that may go to another process between two requests, or has come from one.
type Preread struct {
	net.Conn
	Bytes  []byte        // what the other process has read already; Read returns it first
	Header time.Duration // how long the header of a request may take

	// net/http takes a connection that comes between two requests for a new one and expects a request soon. If Idle is not
	// 0, the connection may instead be idle for so long before a request.
	Idle time.Duration

	begun       atomic.Bool // a part of a request was read since Rest
	interrupted atomic.Bool
}

// Rest notes that a request is over.
func (c *Preread) Rest() {
	c.begun.Store(false)
	c.interrupted.Store(false)
}

// Begun reports whether a part of the next request was read since Rest.
func (c *Preread) Begun() bool { return c.begun.Load() }

// Interrupt ends a Read that waits for a request. A request that has begun is read to its end.
func (c *Preread) Interrupt() error {
	c.interrupted.Store(true)
	return c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// SetReadDeadline implements [net.Conn].
func (c *Preread) SetReadDeadline(t time.Time) error {
	if c.Idle > 0 && !c.begun.Load() && t.After(time.Now()) {
		t = time.Now().Add(c.Idle)
	}
	return c.Conn.SetReadDeadline(t)
}

// Read implements [net.Conn].
func (c *Preread) Read(p []byte) (int, error) {
	if len(c.Bytes) > 0 {
		n := copy(p, c.Bytes)
		c.Bytes = c.Bytes[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if err != nil && c.begun.Load() && c.interrupted.Swap(false) && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.Header))
		n, err = c.Conn.Read(p)
	}
	if n > 0 && !c.begun.Swap(true) && c.Idle > 0 {
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.Header))
	}
	return n, err
}

// SyscallConn implements [syscall.Conn].
func (c *Preread) SyscallConn() (syscall.RawConn, error) {
	if below, ok := c.Conn.(syscall.Conn); ok {
		return below.SyscallConn()
	}
	return nil, syscall.ENOTSUP
}
