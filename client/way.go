package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headcount/internal/sse"
)

const (
	// firstEvent is how long the first event of a stream may take, from the sending of the request: a server sends it at
	// once.
	firstEvent = 3 * time.Second
	// pollLimit is how long an answer to a poll may take: a server takes up to 20 s.
	pollLimit = 30 * time.Second
	// trialAfter is how long polls go on until a stream is tried again, the first time; then it is twice as long each time.
	trialAfter = time.Minute
	maxTrial   = time.Hour
)

// way is how a subscription asks for events: by a stream, or, where something on the way holds a stream back, refuses it
// or lets no answer to the server's pings pass, by polls.
type way struct {
	polls  bool // and not streams
	worked bool // a poll has, since the last stream
	cut    bool // the last poll broke, though the one before worked

	// unanswered is set when the last POST /alive did not arrive. Only the lease's goroutine touches it during an attempt.
	unanswered bool

	patience time.Duration // until a stream is tried
	due      time.Time     // when it is
	trials   sync.WaitGroup
	streams  atomic.Bool // a trial has gone well
}

// step is what follows the end of an attempt.
type step int

const (
	lost     step = iota // the connection is: wait, and tell
	onward               // a poll has come to its end: ask again soon
	otherWay             // try the other way at once
)

// next looks at how an attempt ended, and decides on the next one.
func (w *way) next(heard bool, err error) step {
	var refused *refusedError
	errors.As(err, &refused)
	switch {
	case w.polls && heard && errors.Is(err, errEnded):
		w.cut = false
		return onward
	case w.polls && w.worked && !w.cut && refused == nil:
		// Something may cut what takes long. The next poll is answered at once, if the server is there.
		w.cut = true
		return onward
	case w.polls:
		w.polls = w.worked // where no poll ever worked, a stream may
		w.cut = false
		return lost
	case !heard && (errors.Is(err, errHeld) || errors.Is(err, errEnded)),
		refused != nil && !refused.own && refused.status >= 400 && refused.status < 500 && refused.status != http.StatusTooManyRequests,
		w.unanswered && errors.Is(err, errEnded):
		w.polls, w.worked = true, false
		return otherWay
	case heard && errors.Is(err, errSilent):
		// Something may let the first words of a stream pass, and no more. The next stream has to prove more: see arrives.
		w.polls, w.worked = true, false
	}
	return lost
}

// ask is the cursor to ask with. One that lacks its last part, the version of the states, is answered at once.
func (w *way) ask(cursor string) string {
	if w.cut {
		return cursor[:strings.LastIndexByte(cursor, '.')+1]
	}
	return cursor
}

// statesOf is the part of a cursor that tells the version of the states.
func statesOf(cursor string) string {
	parts := strings.SplitN(cursor, ".", 3)
	return parts[len(parts)-1]
}

// choose decides after a poll whether polls go on, and tells when the way has changed.
func (s *subscription) choose(ctx context.Context) {
	w := &s.way
	switch {
	case w.cut:
	case !w.worked:
		w.worked = true
		w.due = time.Now().Add(w.patience)
		s.console.polling()
	case w.streams.Swap(false):
		w.polls = false
		w.patience = trialAfter
		s.console.streaming()
	case time.Now().After(w.due):
		w.patience = min(2*w.patience, maxTrial)
		w.due = time.Now().Add(w.patience)
		w.trials.Go(func() { w.streams.Store(s.arrives(ctx)) })
	}
}

// arrives tries a stream beside the polls, with the same id, so that nobody is counted twice. Only one that says
// something again later is better than polls, and only if answers to its pings get back.
func (s *subscription) arrives(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, limitOf(defaultHeartbeat))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.eventsURL("", false), nil)
	if err != nil {
		return false
	}
	req.Header = s.header()
	req.Header.Set("Accept", "text/event-stream")
	resp, err := s.http.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if validate(resp) != nil {
		return false
	}
	var first time.Time
	arrived, answered := false, true
	_ = readBlocks(resp.Body, func(b block) {
		if b.name == sse.Hello && b.asks() {
			answered = s.post(ctx, "alive") == nil
		}
		if first.IsZero() {
			first = b.at
		}
		if arrived = b.at.Sub(first) > time.Second; arrived || !answered {
			cancel()
		}
	})
	return arrived && answered
}

// awaitEvent returns a context for one request. Held is called when the first event had its time to come after that
// was sent, unless the function that it returns was called before.
func awaitEvent(ctx context.Context, held func()) (_ context.Context, came func()) {
	var mu sync.Mutex
	var timer *time.Timer
	done := false
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
		mu.Lock()
		defer mu.Unlock()
		if timer == nil && !done { // an answer may be quicker than this
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
