package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headcount"
)

// The first subscription sees the count grow up to all of them, and ctrl-C is no error.
func TestTabs(t *testing.T) {
	app, err := headcount.New(headcount.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)

	const n = 4
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, server.URL, n, time.Millisecond, write) }()
	lines := bufio.NewScanner(read)
	for lines.Scan() && lines.Text() != fmt.Sprintf("user count %d", n) {
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, read)
	stop()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

// After a break, a new stream continues after the last event.
func TestTabsReconnect(t *testing.T) {
	var streams atomic.Int32
	cursors := make(chan string, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cursors <- r.Header.Get("Last-Event-ID")
		fmt.Fprintf(w, "event: io:gap\ndata: {\"missed\":null}\n\nretry: 1\nid: a.%d\nevent: user count\ndata: %[1]d\n\n", streams.Add(1))
		w.(http.Flusher).Flush()
		if streams.Load() == 1 {
			panic(http.ErrAbortHandler) // in the middle of the stream
		}
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, server.URL, 1, time.Millisecond, write) }()
	lines := bufio.NewScanner(read)
	for lines.Scan() && lines.Text() != "user count 2" {
		if strings.Contains(lines.Text(), "io:") {
			t.Errorf("got the server's own signal %q, want events only", lines.Text())
		}
	}
	if first, second := <-cursors, <-cursors; first != "" || second != "a.1" {
		t.Errorf("got cursors %q and %q, want none and a.1", first, second)
	}
	go io.Copy(io.Discard, read)
	stop()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

func TestTabsNoServer(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	err := run(t.Context(), server.URL, 2, time.Millisecond, io.Discard)
	want := "no connection to " + server.URL + ": connection refused; is the server running, and is the URL right?"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}
