package subscribe

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"headcount/client/remote"
	"headcount/internal/sse"
)

const (
	// firstEvent is how long the first event of a stream may take after the request. A server sends it at once.
	firstEvent = 3 * time.Second
	// trialAfter is how long polls run before the first trial of a stream. The time doubles after each trial.
	trialAfter = time.Minute
	maxTrial   = time.Hour
	// provedAfter is how long after the first event another one must come to prove that streams work.
	provedAfter = time.Second
)

// trial is a stream that is opened while polls run, to find out whether streams work again.
type trial struct {
	wait    time.Duration // until the next trial
	due     time.Time     // time of the next trial
	running sync.WaitGroup
	trying  atomic.Bool
	proved  atomic.Bool // the trial succeeded
}

// succeeded reports whether a trial has shown that streams work.
func (t *trial) succeeded() bool {
	if !t.proved.Swap(false) {
		return false
	}
	t.wait = trialAfter
	return true
}

// tryStream starts a trial if one is due.
func (s *subscription) tryStream(ctx context.Context) {
	t := &s.trial
	if time.Now().Before(t.due) || t.trying.Swap(true) {
		return
	}
	t.wait = min(2*t.wait, maxTrial)
	t.due = time.Now().Add(t.wait)
	t.running.Go(func() {
		defer t.trying.Store(false)
		t.proved.Store(s.arrives(ctx))
	})
}

// arrives reports whether streams work. It opens a stream with the same id, so that nobody is counted twice. The stream
// must deliver a later event too, and answers to its pings must reach the server.
func (s *subscription) arrives(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, limitOf(defaultHeartbeat))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address("", false), nil)
	if err != nil {
		return false
	}
	req.Header = s.Server.Header()
	req.Header.Set("Accept", "text/event-stream")
	resp, err := s.Server.Get(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if remote.CheckStream(resp, false) != nil {
		return false
	}
	var first time.Time
	arrived, heard := false, true
	_ = remote.ReadBlocks(resp.Body, func(b remote.Block) {
		if b.Name == sse.Hello && b.Asks() {
			heard = s.post(ctx, "alive") == nil
		}
		if first.IsZero() {
			first = b.At
		}
		if arrived = b.At.Sub(first) > provedAfter; arrived || !heard {
			cancel()
		}
	})
	return arrived && heard
}

// awaitEvent returns a context for one request. It calls held if the first event does not come in time after the
// request was sent. The caller calls came when the event comes.
func awaitEvent(ctx context.Context, held func()) (_ context.Context, came func()) {
	var mu sync.Mutex
	var timer *time.Timer
	done := false
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
		mu.Lock()
		defer mu.Unlock()
		if timer == nil && !done { // the answer may come earlier than this
			timer = time.AfterFunc(firstEvent, held)
		}
	}}
	return httptrace.WithClientTrace(ctx, trace), func() {
		mu.Lock()
		defer mu.Unlock()
		done = true
		if timer != nil {
			timer.Stop()
		}
	}
}
