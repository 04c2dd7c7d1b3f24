package wire

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Preread is a connection that another process has served before.
type Preread struct {
	net.Conn
	Bytes []byte // what the other process has read already; Read returns it first

	// net/http takes a connection between two requests for a new one and expects a request soon. If Idle is not 0, the
	// connection may instead be idle for so long, and then has the time Header from its first byte on.
	Idle, Header time.Duration
	begun        atomic.Bool
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
	if len(c.Bytes) == 0 {
		n, err := c.Conn.Read(p)
		if c.Idle > 0 && n > 0 && !c.begun.Swap(true) {
			_ = c.Conn.SetReadDeadline(time.Now().Add(c.Header))
		}
		return n, err
	}
	n := copy(p, c.Bytes)
	c.Bytes = c.Bytes[n:]
	return n, nil
}

// SyscallConn implements [syscall.Conn].
func (c *Preread) SyscallConn() (syscall.RawConn, error) {
	if below, ok := c.Conn.(syscall.Conn); ok {
		return below.SyscallConn()
	}
	return nil, syscall.ENOTSUP
}
