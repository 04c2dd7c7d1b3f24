package wire

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Tune prepares what lc will listen on for streams, so that the kernel gives up a
// reader that vanished without a word: within StallTimeout where bytes are under
// way, and by keepalive where none are. Accepted connections inherit the options of
// the listener, which saves six system calls for each; Multipath TCP, whose sockets
// refuse them with "protocol not available", is switched off.
func Tune(lc *net.ListenConfig) {
	lc.SetMultipathTCP(false)
	lc.KeepAlive = -1 // Go would set its own on each connection
	lc.Control = func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = tune(int(fd)) }), err)
	}
}

func tune(fd int) error {
	for _, o := range []struct{ level, option, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 10},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 5},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 2},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(StallTimeout / time.Millisecond)},
		// What was written but not yet sent: little, so that a slow reader gets
		// the newest state instead of a queue in the kernel.
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 16 << 10},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			return err
		}
	}
	return nil
}
