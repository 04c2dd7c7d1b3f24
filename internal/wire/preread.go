package wire

import (
	"net"
	"syscall"
)

// Preread is a connection from which another process has read already. Read returns these bytes first.
type Preread struct {
	net.Conn
	Bytes []byte
}

// Read implements [net.Conn].
func (c *Preread) Read(p []byte) (int, error) {
	if len(c.Bytes) == 0 {
		return c.Conn.Read(p)
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
