package main

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"headcount/internal/wire"
)

// listener accepts connections, but none while it is paused: then they wait in the kernel. First come those that it was
// given.
type listener struct {
	net.Listener
	inherited bool // from another process, and so without what listen asks of it

	mu    sync.Mutex
	given []net.Conn
	pause chan struct{} // closed when it goes on; nil while it is not paused
}

// deadliner is what both kinds of listeners have.
type deadliner interface{ SetDeadline(time.Time) error }

// Accept is for [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	for {
		if c := l.next(); c != nil {
			return c, nil
		}
		c, err := l.Listener.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue // it was paused
		}
		if tcp, ok := c.(*net.TCPConn); ok && err == nil && l.inherited {
			err = wire.TuneConn(tcp)
		}
		return c, err
	}
}

// next waits while the listener is paused, and returns a connection that it was given, if there is one.
func (l *listener) next() net.Conn {
	for {
		l.mu.Lock()
		wait := l.pause
		if wait == nil && len(l.given) > 0 {
			c := l.given[0]
			l.given = l.given[1:]
			l.mu.Unlock()
			return c
		}
		l.mu.Unlock()
		if wait == nil {
			return nil
		}
		<-wait
	}
}

// Pause accepts nothing until Resume.
func (l *listener) Pause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pause = make(chan struct{})
	return l.Listener.(deadliner).SetDeadline(time.Unix(1, 0))
}

// Resume accepts again, first the given connections.
func (l *listener) Resume(given ...net.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given = append(l.given, given...)
	return l.goOn()
}

// goOn ends a pause; l.mu is held.
func (l *listener) goOn() error {
	if l.pause == nil {
		return nil
	}
	close(l.pause)
	l.pause = nil
	return l.Listener.(deadliner).SetDeadline(time.Time{})
}

// Close is for [net.Listener].
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	given := l.given
	l.given = nil
	for _, c := range given {
		_ = c.Close()
	}
	return errors.Join(l.goOn(), l.Listener.Close())
}

// Leave has the address of a Unix socket stay when the listener is closed: another process has it.
func (l *listener) Leave() {
	if u, ok := l.Listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
}
