//go:build !linux

package wire

import (
	"net"
	"time"
)

// Tune prepares what lc will listen on for streams, so that the kernel gives up a
// reader that vanished without a word. Only keepalive can be set on every system;
// with bytes under way it does not work, and the system's own patience counts.
func Tune(lc *net.ListenConfig) {
	lc.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 2}
}

// TuneConn does nothing: there are no listeners of other processes.
func TuneConn(*net.TCPConn) error { return nil }
