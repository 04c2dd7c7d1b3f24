package main

import (
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leaving is connections between requests that net/http is to give up, for another process, and a second descriptor of
// each; idleConns.mu guards it.
type leaving struct {
	going map[net.Conn]int
	gone  []int
	done  chan struct{} // closed when none is going
}

func (l *leaving) changed(c net.Conn, state http.ConnState) {
	fd, ok := l.going[c]
	switch {
	case !ok:
		return
	case state == http.StateClosed:
		l.gone = append(l.gone, fd)
	default: // a request came first
		_ = unix.Close(fd)
	}
	if delete(l.going, c); len(l.going) == 0 {
		close(l.done)
	}
}

// take has net/http give up the connections that wait for a request, and returns a descriptor of each. One on which a
// request comes at that moment stays, and so do those with TLS.
func (i *idleConns) take(within time.Duration) []int {
	i.mu.Lock()
	i.leaving = leaving{going: make(map[net.Conn]int), done: make(chan struct{})}
	for c, idle := range i.conns {
		if idle.timer == nil {
			continue // part of its first request may be here
		}
		if fd, err := duplicate(c); err == nil {
			i.leaving.going[c] = fd
			// net/http waits for the first byte of a request, and has read nothing. What comes now stays in the kernel.
			_ = c.SetReadDeadline(time.Unix(1, 0))
		}
	}
	if len(i.leaving.going) == 0 {
		close(i.leaving.done)
	}
	i.mu.Unlock()
	select {
	case <-i.leaving.done:
	case <-time.After(within):
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, fd := range i.leaving.going {
		_ = unix.Close(fd)
	}
	gone := i.leaving.gone
	i.leaving = leaving{}
	return gone
}

// duplicate returns a second descriptor of a connection or a listener.
func duplicate(c any) (int, error) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return -1, unix.ENOTSUP // TLS
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, dupErr := -1, error(nil)
	if err := raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	return fd, dupErr
}
