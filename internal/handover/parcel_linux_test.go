package handover_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"headcount/internal/handover"
)

// A client may reset its connection while it is handed over. The others arrive.
func TestConnectionWasReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var parcel handover.Parcel
	var clients []*net.TCPConn
	for range 3 {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		clients = append(clients, client.(*net.TCPConn))
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		file, err := server.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Dup(int(file.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = file.Close(), server.Close()
		parcel.Connections = append(parcel.Connections, fd)
	}
	_ = clients[1].SetLinger(0)
	_ = clients[1].Close()
	conns, err := parcel.TakeConnections()
	if err != nil || len(conns) != 2 {
		t.Fatalf("got %d connections, %v, want 2", len(conns), err)
	}
	for _, c := range conns {
		if c.RemoteAddr() == nil {
			t.Error("got a connection that was reset")
		}
		_ = c.Close()
	}
}
