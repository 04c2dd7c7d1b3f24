package wire

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Tune prepares the options of listeners for streams, so that the kernel closes the connection of a client that vanished
// silently, within StallTimeout if bytes are in flight, and by keepalive otherwise. Accepted connections inherit the
// options of the listener, which saves six system calls for each. Tune switches Multipath TCP off, because its sockets
// refuse the options with "protocol not available".
func Tune(lc *net.ListenConfig) {
	lc.SetMultipathTCP(false)
	lc.KeepAlive = -1 // otherwise Go sets its own on each connection
	lc.Control = func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = tune(int(fd)) }), err)
	}
}

// Keepalive, in seconds.
const (
	keepIdle     = 10
	keepInterval = 5
	keepCount    = 2
)

// TuneConn is [Tune] for a connection of a listener that another process has opened. Such connections have the options
// of that listener too, but Go sets its own keepalive on them.
func TuneConn(c *net.TCPConn) error {
	return c.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: keepIdle * time.Second, Interval: keepInterval * time.Second, Count: keepCount,
	})
}

func tune(fd int) error {
	for _, o := range []struct{ level, option, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepIdle},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepInterval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepCount},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(StallTimeout / time.Millisecond)},
		// This bounds what was written but not sent yet. It is little, so that a slow client gets the newest state
		// instead of a queue in the kernel.
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 16 << 10},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			return err
		}
	}
	return nil
}
