package main

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unread reports whether the other side has sent something that the server has not read yet. On a busy machine a
// request may wait for a while, and closing its connection would lose it.
func unread(c net.Conn) bool {
	socket, ok := innermostConn(c).(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return err == nil && n > 0
}
