//go:build !linux

package wire

import (
	"net"
	"time"
)

// Tune prepares the options of listeners for streams, so that the kernel gives up a client that vanished silently. Only
// keepalive can be set on every system. It does not work while bytes are under way, and then the timeout of the system
// counts.
func Tune(lc *net.ListenConfig) {
	lc.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 2}
}

// TuneConn does nothing, because there are no listeners of other processes.
func TuneConn(*net.TCPConn) error { return nil }
