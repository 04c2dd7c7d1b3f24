package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits of the log: a burst of lines, and then lines per second.
const (
	logBurst = 50
	logRate  = 5
)

// rateLimited is a log handler that strangers cannot flood. Beyond logRate it only counts lines. The next line has the
// number of missing lines.
type rateLimited struct {
	slog.Handler
	*budget
}

type budget struct {
	limit *rate.Limiter

	mu      sync.Mutex
	leftOut int
}

func newRateLimited(h slog.Handler) rateLimited {
	return rateLimited{h, &budget{limit: rate.NewLimiter(logRate, logBurst)}}
}

// Handle passes a record on or counts it. It does not limit level debug, which somebody asked for.
func (l rateLimited) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return l.Handler.Handle(ctx, r)
	}
	l.mu.Lock()
	if !l.limit.AllowN(time.Now(), 1) {
		l.leftOut++
		l.mu.Unlock()
		return nil
	}
	n := l.leftOut
	l.leftOut = 0
	l.mu.Unlock()
	if n > 0 {
		r.AddAttrs(slog.Int("lines_left_out", n))
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs returns a handler that shares the limit.
func (l rateLimited) WithAttrs(attrs []slog.Attr) slog.Handler {
	return rateLimited{l.Handler.WithAttrs(attrs), l.budget}
}

// WithGroup returns a handler that shares the limit.
func (l rateLimited) WithGroup(name string) slog.Handler {
	return rateLimited{l.Handler.WithGroup(name), l.budget}
}
