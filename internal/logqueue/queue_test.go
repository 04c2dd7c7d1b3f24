package logqueue_test

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/logqueue"
)

// stuck is a log that nothing reads until it is opened.
type stuck struct {
	open chan struct{}
	text bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.open
	return s.text.Write(p)
}

func newLog(q *logqueue.Queue) *slog.Logger {
	return slog.New(q.Handler(slog.NewTextHandler(q, nil)))
}

// Nothing waits for a log that is stuck. Lines that do not fit are counted, and the first line that fits again reports
// the number.
func TestStuckLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{open: make(chan struct{})}
		q := logqueue.New(out)
		log := newLog(q)
		for range 10_000 {
			log.Info("a line")
		}
		close(out.open)
		synctest.Wait()
		log.With("a", 1).WithGroup("g").Info("the next", "b", 2)
		log.Info("the one after")
		q.Close(time.Second)
		lines := strings.Split(strings.TrimSpace(out.text.String()), "\n")
		kept := len(lines) - 2
		if kept < 100 || kept > 2000 {
			t.Fatalf("%d lines are kept while nobody reads, want some of 10,000", kept)
		}
		if next := lines[kept]; !strings.Contains(next, `msg="the next" a=1 g.b=2 g.lines_dropped=`) {
			t.Errorf("got %q, want how many lines were dropped", next)
		}
		if after := lines[kept+1]; strings.Contains(after, "dropped") {
			t.Errorf("got %q, want nothing of dropped lines: they were told of before", after)
		}
	})
}

// A program that ends waits for a stuck log no longer than the given time, and not at all for a log that is read.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{open: make(chan struct{})}
		q := logqueue.New(out)
		newLog(q).Info("a line")
		begin := time.Now()
		q.Close(time.Second)
		if took := time.Since(begin); took != time.Second {
			t.Errorf("closing a stuck log took %v, want 1s", took)
		}
		newLog(q).Info("late") // and no panic
		close(out.open)
		synctest.Wait()
		begin = time.Now()
		q.Close(time.Second)
		if took := time.Since(begin); took != 0 {
			t.Errorf("closing a log that is read took %v, want no time", took)
		}
		if got := out.text.String(); strings.Count(got, "a line") != 1 {
			t.Errorf("got %q, want the line that was queued", got)
		}
	})
}

// The writer may reuse a line once Write returns.
func TestWriteCopies(t *testing.T) {
	r, w := io.Pipe()
	q := logqueue.New(w)
	line := []byte("first\n")
	q.Write(line)
	copy(line, "XXXXX\n")
	got := make([]byte, 6)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "first\n" {
		t.Errorf("got %q, %v, want the line as it was", got, err)
	}
	q.Close(time.Minute)
}
