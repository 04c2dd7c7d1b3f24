// Package logqueue prevents the log from blocking the program. A line is put into a bounded queue, and one goroutine
// writes it. If nothing reads the log (a full pipe, a stuck disk), lines are dropped and counted.
package logqueue

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// size is how many lines can wait. A line of this server is some hundred bytes long.
const size = 1024

var errFull = errors.New("log queue is full")

// Queue is a writer that never blocks. Each call of Write is one line. Make one with [New].
type Queue struct {
	out     io.Writer
	lines   chan []byte
	stop    func()
	stopped <-chan struct{} // closed by Close
	done    chan struct{}   // closed when the last line is written
	dropped atomic.Int64    // lines dropped since a Handler last queued one
}

// New returns a queue that writes to out until [Queue.Close].
func New(out io.Writer) *Queue {
	ctx, stop := context.WithCancel(context.Background())
	q := &Queue{out: out, lines: make(chan []byte, size), stop: stop, stopped: ctx.Done(), done: make(chan struct{})}
	go q.run()
	return q
}

// run writes the lines, and ends when there is none left after Close. If the log cannot be written, it is lost, and
// there is nowhere to report that.
func (q *Queue) run() {
	defer close(q.done)
	for {
		select {
		case line := <-q.lines:
			_, _ = q.out.Write(line)
			continue
		case <-q.stopped:
		}
		select {
		case line := <-q.lines:
			_, _ = q.out.Write(line)
		default:
			return
		}
	}
}

// Write queues one line, or drops it and returns an error. It does not wait.
func (q *Queue) Write(line []byte) (int, error) {
	select {
	case q.lines <- slices.Clone(line): // the caller reuses it
		return len(line), nil
	default:
		q.dropped.Add(1)
		return 0, errFull
	}
}

// Close writes what is queued, for at most the given time. Lines that come later are lost. The program may end after
// Close. A write that blocks is abandoned.
func (q *Queue) Close(within time.Duration) {
	q.stop()
	select {
	case <-q.done:
	case <-time.After(within):
	}
}

// Handler returns inner, which has to write to q, with one addition. The first line after others were dropped has their
// number as lines_dropped.
func (q *Queue) Handler(inner slog.Handler) slog.Handler { return handler{inner, q} }

type handler struct {
	slog.Handler
	queue *Queue
}

// Handle formats and queues a record.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	n := h.queue.dropped.Swap(0)
	if n > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int64("lines_dropped", n))
	}
	err := h.Handler.Handle(ctx, r)
	if err != nil {
		h.queue.dropped.Add(n) // this line did not report them
	}
	return err
}

// WithAttrs keeps to the same queue.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.queue}
}

// WithGroup keeps to the same queue.
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.queue}
}
