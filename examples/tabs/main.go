// Command tabs opens subscriptions one after the other, as somebody would who opens one tab after the other, and prints
// the count as the first of them sees it. Ctrl-C closes all at once.
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
	"strings"
	"sync"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	n := flag.Int("n", 20, "how many subscriptions")
	every := flag.Duration("every", 200*time.Millisecond, "time between two of them")
	flag.Parse()
	server := "http://localhost:8080"
	if flag.NArg() > 0 {
		server = strings.TrimSuffix(flag.Arg(0), "/")
	}
	if err := run(ctx, server, *n, *every, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tabs:", err)
		stop()
		os.Exit(1)
	}
}

// run opens n subscriptions and keeps them until ctx ends or one of them does.
func run(ctx context.Context, server string, n int, every time.Duration, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var open sync.WaitGroup
	defer open.Wait()
	defer cancel(nil)
	for i := range n {
		print := io.Discard
		if i == 0 {
			print = out
		}
		open.Go(func() { cancel(subscribe(ctx, server, print)) })
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

// subscribe prints a line for each event, until ctx or the stream ends.
func subscribe(ctx context.Context, server string, out io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/events", nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("open stream: the server answers %s", resp.Status)
	}
	var event string
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = name
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			fmt.Fprintln(out, event, data)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read stream: %w", err)
	}
	return errors.New("the server ended the stream")
}
