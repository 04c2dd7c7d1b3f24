package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"headcount/internal/web"
)

// The first subscription sees the count grow up to all of them, and ctrl-C is no error.
func TestTabs(t *testing.T) {
	app, err := web.New(web.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
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

func TestTabsNoServer(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	if err := run(t.Context(), server.URL, 2, time.Millisecond, io.Discard); err == nil {
		t.Error("no error where there is no server")
	}
}
