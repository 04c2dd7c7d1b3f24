package wire

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Tune prepares an accepted connection for streams, so that the kernel gives up a
// reader that vanished without a word: within StallTimeout where bytes are under
// way, and by keepalive where none are. It is called for each connection, not on
// the listener, where Go's MPTCP refuses the options with "protocol not available".
// A connection that is not TCP is left as it is.
func Tune(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return // it is closed already
	}
	// An option that this kernel does not have changes nothing else: the stream
	// then lives until the heartbeat's bytes are given up.
	_ = raw.Control(func(fd uintptr) {
		set := func(option, value int) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, option, value)
		}
		set(unix.TCP_USER_TIMEOUT, int(StallTimeout/time.Millisecond))
		// What was written but not yet sent: little, so that a slow reader gets
		// the newest state instead of a queue in the kernel.
		set(unix.TCP_NOTSENT_LOWAT, 16<<10)
	})
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 2})
}
