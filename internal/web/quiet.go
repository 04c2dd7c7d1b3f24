package web

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Lines that are logged at once, and then in a second.
const (
	logBurst = 50
	logRate  = 5
)

// quiet is a handler that no stranger can flood: beyond logRate, lines are only counted, and
// the next one says how many are missing.
type quiet struct {
	slog.Handler
	*flood
}

type flood struct {
	limit *rate.Limiter

	mu      sync.Mutex
	leftOut int
}

func newQuiet(h slog.Handler) quiet {
	return quiet{h, &flood{limit: rate.NewLimiter(logRate, logBurst)}}
}

// Handle passes a record on, or counts it.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	q.mu.Lock()
	if !q.limit.AllowN(time.Now(), 1) {
		q.leftOut++
		q.mu.Unlock()
		return nil
	}
	n := q.leftOut
	q.leftOut = 0
	q.mu.Unlock()
	if n > 0 {
		r.AddAttrs(slog.Int("lines_left_out", n))
	}
	return q.Handler.Handle(ctx, r)
}

// WithAttrs keeps to the same limit.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{q.Handler.WithAttrs(attrs), q.flood}
}

// WithGroup keeps to the same limit.
func (q quiet) WithGroup(name string) slog.Handler {
	return quiet{q.Handler.WithGroup(name), q.flood}
}
