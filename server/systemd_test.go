package main

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	t.Setenv("NOTIFY_SOCKET", path)
	if err := notify("READY=1"); err == nil {
		t.Error("without a service manager at the socket: got no error")
	}
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	const state = "MAINPID=7\nREADY=1"
	if err := notify(state); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	_ = manager.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := manager.Read(got); err != nil || string(got[:n]) != state {
		t.Errorf("the service manager got %q, %v, want %q", got[:n], err, state)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := notify(state); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
}
