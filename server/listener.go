package main

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"headcount/internal/wire"
)

// listener accepts connections. While it is paused, new connections wait in the kernel. It first returns the
// connections that are queued for it.
type listener struct {
	net.Listener
	inherited bool // it came from another process, and listen has not set its socket options

	mu     sync.Mutex
	queued []net.Conn
	pause  chan struct{} // closed when it resumes; nil while it is not paused
}

// deadliner is implemented by both kinds of listeners.
type deadliner interface{ SetDeadline(time.Time) error }

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	for {
		if c := l.next(); c != nil {
			return c, nil
		}
		c, err := l.Listener.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue // the listener was paused
		}
		if tcp, ok := c.(*net.TCPConn); ok && err == nil && l.inherited {
			_ = wire.TuneConn(tcp) // if it fails, the client has gone and the next read fails too
		}
		return c, err
	}
}

// next waits while the listener is paused, and returns one of the queued connections, or nil.
func (l *listener) next() net.Conn {
	for {
		l.mu.Lock()
		wait := l.pause
		if wait == nil && len(l.queued) > 0 {
			c := l.queued[0]
			l.queued = l.queued[1:]
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

// Pause stops accepting until Resume.
func (l *listener) Pause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pause = make(chan struct{})
	return l.Listener.(deadliner).SetDeadline(time.Unix(1, 0))
}

// Resume accepts again. It returns the queued connections first.
func (l *listener) Resume(queued ...net.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued = append(l.queued, queued...)
	return l.resume()
}

// resume ends a pause. The caller holds l.mu.
func (l *listener) resume() error {
	if l.pause == nil {
		return nil
	}
	close(l.pause)
	l.pause = nil
	return l.Listener.(deadliner).SetDeadline(time.Time{})
}

// Close implements [net.Listener].
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	queued := l.queued
	l.queued = nil
	for _, c := range queued {
		_ = c.Close()
	}
	return errors.Join(l.resume(), l.Listener.Close())
}

// Leave keeps the file of a Unix socket when the listener closes, because another process uses it.
func (l *listener) Leave() {
	if u, ok := l.Listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
}
