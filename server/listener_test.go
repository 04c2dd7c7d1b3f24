package main

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// listenHere returns a listener at a free port, and a function that connects to it.
func listenHere(t *testing.T) (l *listener, dial func() net.Conn) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = &listener{Listener: inner}
	t.Cleanup(func() { _ = l.Close() })
	return l, func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
}

// accepting accepts in the background until the listener closes.
func accepting(l net.Listener) (conns chan net.Conn, over chan error) {
	conns, over = make(chan net.Conn, 10), make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				over <- err
				return
			}
			conns <- c
		}
	}()
	return conns, over
}

func awaitConn(t *testing.T, conns chan net.Conn) net.Conn {
	t.Helper()
	select {
	case c := <-conns:
		t.Cleanup(func() { _ = c.Close() })
		return c
	case <-time.After(10 * time.Second):
		t.Fatal("no connection was accepted")
		return nil
	}
}

// A paused listener leaves new connections in the kernel. When it resumes, it first returns what it was given.
func TestListenerPause(t *testing.T) {
	l, dial := listenHere(t)
	if err := l.Pause(); err != nil {
		t.Fatal(err)
	}
	waiting := dial()
	conns, _ := accepting(l)
	given, other := net.Pipe()
	defer other.Close()
	if err := l.Resume(given); err != nil {
		t.Fatal(err)
	}
	if got := awaitConn(t, conns); got != given {
		t.Errorf("got %v first, want the given connection", got)
	}
	if got := awaitConn(t, conns); got.RemoteAddr().String() != waiting.LocalAddr().String() {
		t.Errorf("got %v, want the connection that has waited", got.RemoteAddr())
	}
	if err := l.Resume(); err != nil {
		t.Errorf("resume of a listener that is not paused: %v", err)
	}
}

// A paused listener can be closed. It closes what it was given and nobody has taken.
func TestListenerClose(t *testing.T) {
	l, _ := listenHere(t)
	if err := l.Pause(); err != nil {
		t.Fatal(err)
	}
	_, over := accepting(l)
	given, other := net.Pipe()
	l.queued = append(l.queued, given)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-over:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: got %v, want that it is closed", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Accept still waits")
	}
	if _, err := other.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the given connection: got %v, want EOF", err)
	}
}
