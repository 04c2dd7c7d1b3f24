// Command tabs opens subscriptions one after the other, like a user who opens many tabs. It prints the count that the
// first subscription gets. Ctrl-C closes all of them at once.
//
//	go run ./examples/tabs -n 50 http://localhost:8080
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	n := flag.Int("n", 20, "number of subscriptions")
	every := flag.Duration("every", 200*time.Millisecond, "time between two subscriptions")
	flag.Parse()
	server := "http://localhost:8080"
	if flag.NArg() > 0 {
		server = strings.TrimSuffix(flag.Arg(0), "/")
	}
	fmt.Fprintf(os.Stderr, "tabs: opening %d subscriptions to %s; ctrl-C ends\n", *n, server)
	if err := run(ctx, server, *n, *every, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tabs:", err)
		stop()
		os.Exit(1)
	}
}

// run opens n subscriptions and keeps them until ctx ends. It returns an error if there is no server at the
// start.
func run(ctx context.Context, server string, n int, every time.Duration, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var open sync.WaitGroup
	defer open.Wait()
	defer cancel(nil)
	var isUp atomic.Bool
	for i := range n {
		t := &tab{server: server, out: io.Discard, isUp: &isUp, retry: time.Second}
		if i == 0 {
			t.out = out
		}
		open.Go(func() { cancel(t.keep(ctx)) })
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// tab is one subscription, over as many streams as it takes.
type tab struct {
	server string
	out    io.Writer
	isUp   *atomic.Bool  // a stream of any tab was open once
	cursor string        // the id of the last event; a new stream continues after it
	retry  time.Duration // time between two streams, which the server sets
}

// keep opens a stream again whenever it breaks, until ctx ends.
func (t *tab) keep(ctx context.Context) error {
	for {
		err := t.read(ctx)
		switch {
		case ctx.Err() != nil:
			return err
		case !t.isUp.Load():
			return fmt.Errorf("%w; is the server running, and is the URL right?", err)
		}
		fmt.Fprintf(t.out, "%v; reconnecting in %.1f s\n", err, t.retry.Seconds())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(t.retry):
		}
	}
}

// read prints a line for each event, until ctx or the stream ends.
func (t *tab) read(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.server+"/events", nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	if t.cursor != "" {
		req.Header.Set("Last-Event-ID", t.cursor)
	}
	resp, err := http.DefaultClient.Do(req)
	var system syscall.Errno
	switch {
	case errors.As(err, &system):
		return fmt.Errorf("no connection to %s: %w", t.server, system)
	case err != nil:
		return fmt.Errorf("no connection to %s: %w", t.server, errors.Unwrap(err)) // without method and URL
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("open stream: the server answers %s", resp.Status)
	}
	t.isUp.Store(true)
	var event string
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			t.cursor = value
		case "event":
			event = value
		case "retry":
			if ms, err := strconv.ParseUint(value, 10, 16); err == nil {
				t.retry = time.Duration(ms) * time.Millisecond // random, so that not all tabs reconnect at once
			}
		case "data":
			if !strings.HasPrefix(event, "io:") { // the server's own signals
				fmt.Fprintln(t.out, event, value)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read stream: %w", err)
	}
	return errors.New("the server ended the stream")
}
