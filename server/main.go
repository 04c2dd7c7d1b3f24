// Command server counts connected users and emits events to them, over plain HTTP.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"headcount/internal/logqueue"
	"headcount/internal/option"
)

// logTime is how long the program waits at its end for a log that nobody reads.
const logTime = time.Second

func main() {
	ctx, stop := notified(context.Background())
	defer stop()
	stderr := logqueue.New(os.Stderr)
	code := status(stderr, run(ctx, os.Args[1:], os.Stdout, stderr))
	stderr.Close(logTime)
	os.Exit(code)
}

// status prints the error of run and returns an exit status.
func status(stderr io.Writer, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "headcount: %v\n", err)
		return 2
	default:
		fmt.Fprintf(stderr, "headcount: %v\n", err)
		return 1
	}
}

// run is the whole program, in the order in which its parts start. It returns when ctx is done and every stream has
// ended or was handed over.
func run(ctx context.Context, args []string, stdout io.Writer, stderr *logqueue.Queue) error {
	before, err := findPredecessor()
	if err != nil {
		return err
	}
	cfg, err := parseConfig(args, stdout)
	if err != nil || cfg == nil {
		return err
	}
	if cfg.health {
		return checkHealth(ctx, cfg, stdout)
	}
	ignoreBrokenPipes()
	log := newLog(cfg.log, cfg.logLevel, stderr)
	if unknown := option.Unknown(); len(unknown) > 0 {
		log.Warn("unknown environment variables; -h lists the known ones", "names", unknown)
	}
	log = slog.New(newRateLimited(log.Handler()))
	p, err := newProcess(ctx, cfg, before, log)
	if err != nil {
		before.refuse(err)
		return err
	}
	return p.run(ctx, thisProgram(args))
}

// newLog returns a log that never blocks.
func newLog(form string, level slog.Level, stderr *logqueue.Queue) *slog.Logger {
	if form == "json" {
		return slog.New(stderr.Handler(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: readable})))
	}
	return slog.New(stderr.Handler(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})))
}

// readable formats durations in JSON as in text, such as "10s" instead of a number of nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	return a
}

// serve answers requests on l until the server is closed. It reports any other end on failed.
func serve(s *http.Server, l net.Listener, failed chan<- error) {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
}
