package main

import (
	"net"
	"net/http"
	"testing"
	"time"
)

// accepted returns both ends of a TCP connection.
func accepted(t *testing.T, l net.Listener) (server, client net.Conn) {
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
	})
	return server, client
}

// A connection with a request that the server has not read yet is not idle, however long ago its last request was.
func TestUnreadRequestIsNotIdle(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	idle := newIdleConns(1, nil)
	old, client := accepted(t, l)
	next, _ := accepted(t, l)
	if all := idle.note(old, http.StateIdle); len(all) > 0 {
		t.Fatalf("the only connection was closed")
	}
	one := idle.conns[old]
	one.since = time.Now().Add(-2 * crowdTime)
	idle.conns[old] = one

	if _, err := client.Write([]byte("GET /count")); err != nil {
		t.Fatal(err)
	}
	if all := idle.note(next, http.StateIdle); len(all) > 0 {
		t.Errorf("a connection with an unread request was closed")
	}
	if _, err := old.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if all := idle.note(next, http.StateIdle); len(all) != 1 || all[0] != old {
		t.Errorf("closed %d connections, want the oldest, which is idle", len(all))
	}
}
