package main

import (
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leaving holds connections between requests that net/http must give up for another process, and a second descriptor of
// each. idleConns.mu guards it.
type leaving struct {
	going map[net.Conn]int
	gone  []int
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
	delete(l.going, c)
}

// giveUpTime limits how long take waits for net/http to give up the connections that it has already interrupted. Those
// would be lost otherwise. It takes milliseconds, unless the machine is very busy.
const giveUpTime = 2 * time.Second

// take makes net/http give up the connections that wait for a request, and returns a descriptor of each. It looks for
// such connections for at most the given time. Connections with TLS or HTTP/2 stay.
func (i *idleConns) take(within time.Duration) []int {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(within)
	for now := time.Now(); !i.takeIdle(now.Before(end)) && now.Before(end.Add(giveUpTime)); {
		now = <-tick.C
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

// takeIdle interrupts the connections that wait for a request. With more set, these include connections that it has not
// interrupted before. It reports whether there is nothing left to wait for.
func (i *idleConns) takeIdle(more bool) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.leaving.going == nil {
		i.leaving.going = make(map[net.Conn]int)
	}
	for c, idle := range i.conns {
		if _, ok := i.one[c]; !ok || idle.timer == nil {
			continue // part of its first request may have been read, or it is HTTP/2
		}
		if _, ok := i.leaving.going[c]; !ok {
			if !more {
				continue
			}
			fd, err := duplicate(c)
			if err != nil {
				continue
			}
			i.leaving.going[c] = fd
		}
		// net/http waits for the first byte of a request and has read nothing. New bytes stay in the kernel. net/http
		// sets its own deadline once before it waits, so this may have to be repeated.
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
	return len(i.leaving.going) == 0
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
