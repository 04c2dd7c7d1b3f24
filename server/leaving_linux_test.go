package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"headcount/internal/handover"
	"headcount/internal/wire"
)

// Of the connections of a server, those between two requests are taken. They work in the next process, and a request
// that was sent meanwhile is not lost. Connections with a request stay.
func TestTakeIdle(t *testing.T) {
	l, dial := listenHere(t)
	pass := &switchover{idle: newIdleConns(100, nil)}
	entered, leave := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			close(entered)
			<-leave
		}
		fmt.Fprint(w, r.URL.Path)
	})
	log := slog.New(slog.DiscardHandler)
	s := publicServer(handler, "", pass, (&config{h2c: true}).protocols(), log)
	idled := make(chan struct{}, 10)
	s.ConnState = func(c net.Conn, state http.ConnState) {
		pass.idle.changed(c, state)
		if state == http.StateIdle {
			idled <- struct{}{}
		}
	}
	go func() { _ = s.Serve(plainListener{l}) }()
	defer s.Close()
	ask := func(c net.Conn, path string) { fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path) }
	answer := func(c net.Conn, want string) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != want {
			t.Errorf("got %q, %v, want %q", body, err, want)
		}
	}
	fresh, idle, busy := dial(), dial(), dial()
	ask(idle, "/one")
	answer(idle, "/one")
	<-idled
	ask(busy, "/long")
	<-entered
	fds := pass.idle.take(10 * time.Second)
	if len(fds) != 1 {
		t.Fatalf("took %d connections, want 1", len(fds))
	}
	ask(idle, "/two")
	next, _ := listenHere(t)
	parcel := handover.Parcel{Connections: fds}
	conns, err := parcel.TakeConnections()
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Resume(conns...); err != nil {
		t.Fatal(err)
	}
	after := publicServer(handler, "", &switchover{idle: newIdleConns(100, nil)}, (&config{}).protocols(), log)
	go func() { _ = after.Serve(plainListener{next}) }()
	defer after.Close()
	answer(idle, "/two")
	close(leave)
	answer(busy, "/long")
	ask(fresh, "/three")
	answer(fresh, "/three")
}

// On a busy machine net/http may need longer to give up a connection than take looks for connections. It is taken all
// the same.
func TestTakeSlowly(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	idle := newIdleConns(10, nil)
	conn, _ := accepted(t, l)
	c := &wire.Preread{Conn: conn}
	idle.note(c, http.StateNew)
	idle.note(c, http.StateActive)
	idle.one[c] = struct{}{}
	idle.note(c, http.StateIdle)
	one := idle.conns[c]
	one.since = one.since.Add(-settleTime)
	idle.conns[c] = one
	for _, more := range []bool{true, false, false} {
		if idle.takeIdle(more) {
			t.Fatal("an interrupted connection is not waited for")
		}
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading ended with %v, want the end of its time", err)
	}
	idle.note(c, http.StateClosed)
	if !idle.takeIdle(false) {
		t.Error("there is nothing left to wait for")
	}
	fds := idle.take(0)
	if len(fds) != 1 {
		t.Fatalf("took %d connections, want 1", len(fds))
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
