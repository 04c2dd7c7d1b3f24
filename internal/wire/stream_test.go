package wire_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/hub"
	"headcount/internal/sse/ssetest"
	"headcount/internal/wire"
)

// page is an http.ResponseWriter that keeps what is flushed, or fails to take it.
type page struct {
	header   http.Header
	written  bytes.Buffer
	flushed  []flushed
	refuse   error     // what Flush returns
	before   func()    // called by each Write
	deadline time.Time // as last set
}

type flushed struct {
	at    time.Time
	bytes string
}

func (p *page) Header() http.Header { return p.header }
func (p *page) WriteHeader(int)     {}

func (p *page) Write(b []byte) (int, error) {
	if p.before != nil {
		p.before()
	}
	return p.written.Write(b)
}

func (p *page) FlushError() error {
	p.flushed = append(p.flushed, flushed{time.Now(), p.written.String()})
	p.written.Reset()
	return p.refuse
}

func (p *page) SetWriteDeadline(t time.Time) error {
	p.deadline = t
	return nil
}

func newPage() *page { return &page{header: http.Header{}} }

// This tests the portable writer alone. It checks when it writes, with which deadline, and how it ends.
func TestStreamHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{})
		w := newPage()
		begin := time.Now()
		s := wire.NewStream(h.Open("a").Join(hub.JoinOptions{}), 10*time.Second, true)
		ctx, cancel := context.WithCancel(t.Context())
		reason := make(chan wire.Reason, 1)
		go func() { reason <- s.Run(ctx, w) }()
		time.Sleep(5 * time.Second)
		h.Emit("a", "n", []byte("1"))
		time.Sleep(25 * time.Second)
		cancel()
		if got := <-reason; got != wire.Gone {
			t.Errorf("ended as %s, want gone", got)
		}
		var at []time.Duration
		for _, f := range w.flushed {
			at = append(at, f.at.Sub(begin))
		}
		// A push follows both the opening and the event. After that, silence is counted from the event.
		want := []time.Duration{0, wire.Push, 5 * time.Second, 5*time.Second + wire.Push, 15 * time.Second, 25 * time.Second}
		if len(at) != len(want) {
			t.Fatalf("wrote at %v, want %v", at, want)
		}
		for i := range want {
			if at[i] != want[i] {
				t.Errorf("wrote at %v, want %v", at, want)
				break
			}
		}
		if got := w.deadline.Sub(begin); got != 25*time.Second+wire.StallTimeout {
			t.Errorf("the last deadline is at %v, want %v after the last write", got, wire.StallTimeout)
		}
	})
}

// The error of a write decides why the stream ended.
func TestStreamReasons(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want wire.Reason
	}{
		{os.ErrDeadlineExceeded, wire.Stalled},
		{errors.New("broken pipe"), wire.Gone},
	} {
		w := newPage()
		w.refuse = tt.err
		s := wire.NewStream(hub.New(hub.Options{}).Open("a").Join(hub.JoinOptions{}), time.Hour, false)
		if got := s.Run(t.Context(), w); got != tt.want {
			t.Errorf("%v: ended as %s, want %s", tt.err, got, tt.want)
		}
	}
}

// A client that is always behind still gets its ping and its end.
func TestStreamAlwaysBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{History: 10})
		w := newPage()
		more := []byte(strings.Repeat("x", 80<<10)) // more than a batch
		w.before = func() { h.Emit("a", "n", more) }
		s := wire.NewStream(h.Open("a").Join(hub.JoinOptions{ClientID: "abcdefgh"}), time.Hour, false)
		s.Ping()
		reason := make(chan wire.Reason, 1)
		go func() { reason <- s.Run(t.Context(), w) }()
		time.AfterFunc(0, func() { s.End(7 * time.Second) })
		if got := <-reason; got != wire.Ended {
			t.Errorf("ended as %s, want ended", got)
		}
		pings := 0
		for _, f := range w.flushed {
			for _, e := range ssetest.Parse([]byte(f.bytes)) {
				if e.Name == "io:ping" {
					pings++
				}
			}
		}
		last := w.flushed[len(w.flushed)-1].bytes
		if pings > 1 || last != "retry: 7000\n" {
			t.Errorf("got %d pings and %.40q at the end, want one at most and the farewell", pings, last)
		}
	})
}
