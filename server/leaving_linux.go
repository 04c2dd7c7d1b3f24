package main

import (
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"headcount/internal/wire"
)

// leaving holds connections between requests that net/http must give up for another process, and a second descriptor of
// each. idleConns.mu guards it.
type leaving struct {
	going map[net.Conn]interrupted
	gone  []int
}

// interrupted is a connection that net/http will give up.
type interrupted struct {
	fd   int // a second descriptor
	last time.Time
}

// Times of interruptions. Soon after the last response, net/http would override one with a deadline of its own.
const (
	settleTime = 10 * time.Millisecond
	againTime  = 20 * time.Millisecond
)

func (l *leaving) changed(c net.Conn, state http.ConnState) {
	one, ok := l.going[c]
	switch {
	case !ok:
		return
	case state == http.StateClosed:
		l.gone = append(l.gone, one.fd)
	default: // a request came first
		_ = unix.Close(one.fd)
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
	for _, one := range i.leaving.going {
		_ = unix.Close(one.fd)
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
		i.leaving.going = make(map[net.Conn]interrupted)
	}
	now := time.Now()
	settling := false
	for c, idle := range i.conns {
		p, plain := c.(*wire.Preread)
		if _, ok := i.one[c]; !ok || !plain || idle.timer == nil || p.Begun() {
			continue // part of a request may have been read, or it is TLS or HTTP/2
		}
		one, ok := i.leaving.going[c]
		switch {
		case ok && now.Sub(one.last) < againTime:
			continue
		case ok:
		case !more:
			continue
		case now.Sub(idle.since) < settleTime || unread(c):
			settling = true
			continue
		default:
			fd, err := duplicate(c)
			if err != nil {
				continue
			}
			one.fd = fd
		}
		// net/http waits for the first byte of a request and has read nothing. New bytes stay in the kernel.
		_ = p.Interrupt()
		one.last = now
		i.leaving.going[c] = one
	}
	return len(i.leaving.going) == 0 && !settling
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
