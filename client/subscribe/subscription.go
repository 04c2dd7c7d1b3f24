// Package subscribe follows a room of a headcount server over any number of connections. It uses streams, or polls if
// streams do not work. It is the only package that knows the client of r3labs/sse, which reads one stream each time.
//
// Follow is the main function. It calls Handle and Notify one at a time from its own goroutine, and reads nothing while
// they run. All its goroutines have ended when it returns. Tests run it in a synctest bubble against a real HTTP
// server, and compare its state machine with docs/transport.json.
package subscribe

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"math"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	r3labs "github.com/r3labs/sse/v2"
	"gopkg.in/cenkalti/backoff.v1"

	"headcount/client/remote"
	"headcount/client/retry"
	"headcount/internal/sse"
)

const (
	// silence is how many heartbeats may be missing before a connection counts as lost.
	silence = 2.5
	// defaultHeartbeat is the longest silence for a server that does not send its own value.
	defaultHeartbeat = 10 * time.Second
	// pollLimit is how long the answer to a poll may take. A server takes up to 20 s.
	pollLimit = 30 * time.Second
	// Bases of the delays until the server sends its own.
	streamBase = time.Second
	pollBase   = 200 * time.Millisecond
)

// Options selects what to follow.
type Options struct {
	Server *remote.Server
	Room   string
	ID     string // client id; empty = a random one
	// Handle gets each event except the server's own signals. An error ends the subscription.
	Handle func(*sse.Event) error
	// Notify gets each change of the connection; nil = not called.
	Notify func(Change)
}

// Kind is the kind of a change.
type Kind int

const (
	Connecting Kind = iota // the start
	Connected              // the first event of a connection has come
	Lost                   // there is no connection, and the next attempt has to wait
	Polling                // streams do not work, but polls do
	Streaming              // streams work again
	Missing                // events were missed
)

// Change is a change of the connection.
type Change struct {
	Kind   Kind
	Err    error         // why the connection is lost
	Wait   time.Duration // until the next attempt
	Missed int           // number of missed events, -1 = the server does not know
}

// subscription is the subscription to one room. It has one client id for all connections, so they count as one user.
type subscription struct {
	Options
	state    state
	failures int  // back-offs in a row
	worked   bool // an event has come at least once
	unheard  bool // the last POST /alive of this attempt failed; read it after the attempt

	cursor     string        // the id of the last event
	counted    string        // the version of the last user count
	streamBase time.Duration // base of the delay between streams, from the server
	pollBase   time.Duration // base of the delay between polls, from the server
	trial      trial
}

// Follow connects and reconnects until Handle returns an error, ctx ends, or a retry cannot help. It returns that
// error, or the cause of ctx's end. At the end it says goodbye to the server.
func Follow(ctx context.Context, o Options) error { return newSubscription(o).follow(ctx) }

func newSubscription(o Options) *subscription {
	o.ID = cmp.Or(o.ID, rand.Text())
	if o.Notify == nil {
		o.Notify = func(Change) {}
	}
	return &subscription{Options: o, state: connecting, streamBase: streamBase, pollBase: pollBase, trial: trial{wait: trialAfter}}
}

func (s *subscription) follow(ctx context.Context) error {
	defer s.Server.Close()
	defer s.leave(ctx)
	trials, cancel := context.WithCancel(ctx)
	defer s.trial.running.Wait()
	defer cancel()
	s.Notify(Change{Kind: Connecting})
	for {
		heard, err := s.attempt(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var handled *handleError
		if errors.As(err, &handled) {
			return handled.error
		}
		wait, err := s.step(trials, eventOf(s.state, heard, s.unheard, err), err)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// step enters the next state and returns how long to wait there. It returns an error if a retry cannot help.
func (s *subscription) step(trials context.Context, e event, why error) (time.Duration, error) {
	before := s.state
	if e == answered && before == polling && s.trial.succeeded() {
		e = proved
		s.Notify(Change{Kind: Streaming})
	}
	var p pause
	s.state, p = next(before, e)
	if e == answered {
		s.failures = 0
		if before == asking {
			s.Notify(Change{Kind: Polling})
			s.trial.due = time.Now().Add(s.trial.wait)
		}
		s.tryStream(trials)
	}
	var refusal *remote.Refusal
	var after time.Duration
	if errors.As(why, &refusal) {
		after = refusal.After
	}
	switch p {
	case none:
		return 0, nil
	case soon:
		return retry.Delay(s.pollBase, 0, after, mathrand.Float64()), nil
	}
	if first := !s.worked && s.failures == 0; !remote.Waiting(why, s.worked) || first && remote.NoSuchHost(why) {
		return 0, why
	}
	wait := retry.Delay(s.streamBase, s.failures, after, mathrand.Float64())
	s.failures++
	s.trial.due = time.Time{} // the network may have changed
	s.Notify(Change{Kind: Lost, Err: why, Wait: wait})
	s.Server.Reset()
	return wait, nil
}

// handleError is an error of Handle, not one of the connection.
type handleError struct{ error }

// attempt is one request from its start to the end of its answer. heard reports whether an event came.
func (s *subscription) attempt(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	poll := s.state.polls()
	limit := limitOf(defaultHeartbeat)
	if poll {
		limit = pollLimit
	}
	dog := newWatchdog(limit, func() { cancel(remote.ErrSilent) })
	sending, came := ctx, func() {}
	if !poll {
		sending, came = awaitEvent(ctx, func() { cancel(remote.ErrHeld) })
	}
	defer came()
	lease := &lease{s: s, wanted: make(chan struct{}, 1)}
	s.unheard = false
	var wg sync.WaitGroup
	wg.Go(func() { lease.renew(ctx) })
	defer wg.Wait()
	defer cancel(nil)
	defer dog.wait(false)

	err = s.read(sending, poll, dog, func(e *sse.Event) {
		if ctx.Err() != nil {
			return // the library delivers what it has already read
		}
		if !heard {
			heard, s.worked = true, true
			came()
			if !poll {
				s.state, _ = next(s.state, arrived)
				s.failures = 0
			}
			s.Notify(Change{Kind: Connected})
		}
		if err := s.take(e, dog, lease); err != nil {
			cancel(&handleError{err})
		}
	})
	if ctx.Err() != nil {
		return heard, context.Cause(ctx)
	}
	if err == nil {
		err = remote.ErrEnded
	}
	return heard, err
}

// read makes the request and calls got for each event.
func (s *subscription) read(ctx context.Context, poll bool, dog *watchdog, got func(*sse.Event)) error {
	cursor := s.cursor
	if s.state == checking {
		// A cursor without its last part, the version of the states, is answered at once.
		cursor = cursor[:strings.LastIndexByte(cursor, '.')+1]
	}
	address := s.address(cursor, poll)
	client := r3labs.NewClient(address, r3labs.ClientMaxBufferSize(remote.MaxEvent))
	client.Connection = s.Server.HTTP
	client.ReconnectStrategy = &backoff.StopBackOff{} // one attempt, because follow does the retries
	for name, values := range s.Server.Header() {
		client.Headers[name] = values[0]
	}
	if poll {
		client.Headers["Accept"] = "text/plain" // networks that block event streams let this pass
	}
	if cursor != "" {
		client.LastEventID.Store([]byte(cursor))
	}
	client.ResponseValidator = func(_ *r3labs.Client, resp *http.Response) error {
		if asked, err := url.Parse(address); err == nil {
			s.Server.Follow(asked, resp.Request.URL)
		}
		if err := remote.CheckStream(resp, poll); err != nil {
			resp.Body.Close() // the library does not close it
			return err
		}
		resp.Body = newBody(resp.Body, dog)
		return nil
	}
	return client.SubscribeRawWithContext(ctx, got)
}

// take handles one event and passes it on if it is for the user.
func (s *subscription) take(e *sse.Event, dog *watchdog, lease *lease) error {
	if len(e.ID) > 0 {
		s.cursor = string(e.ID)
	}
	if base, ok := retry.ParseField(e.Retry); ok {
		if s.state.polls() {
			s.pollBase = base
		} else {
			s.streamBase = base
		}
	}
	switch name := string(e.Event); name {
	case sse.Hello:
		var hello struct{ Ping, Heartbeat float64 } // seconds
		if json.Unmarshal(e.Data, &hello) != nil {
			return nil
		}
		if hello.Heartbeat > 0 {
			dog.setLimit(limitOf(seconds(hello.Heartbeat)))
		}
		lease.needed = hello.Ping > 0
		lease.ask() // the first answer confirms that the stream works
	case sse.Ping:
		lease.ask()
	case sse.Gap:
		var gap struct{ Missed *int }
		if json.Unmarshal(e.Data, &gap) != nil || gap.Missed == nil {
			gap.Missed = new(int)
			*gap.Missed = -1
		}
		s.Notify(Change{Kind: Missing, Missed: *gap.Missed})
	default:
		// The library passes a comment, and a block with nothing but "retry:", as an event that has at most an id. "If
		// the data buffer is an empty string, set the data buffer and the event type buffer to the empty string and
		// return."
		if len(e.Data) == 0 || strings.HasPrefix(name, sse.SignalPrefix) || name == sse.UserCount && s.isKnown(e) {
			return nil
		}
		return s.Handle(e)
	}
	return nil
}

// isKnown reports whether a poll repeats the last user count.
func (s *subscription) isKnown(e *sse.Event) bool {
	parts := strings.SplitN(string(e.ID), ".", 3)
	version := parts[len(parts)-1] // of the states
	known := s.state.polls() && version != "" && version == s.counted
	s.counted = version
	return known
}

// address returns a different URL each time, because a cache may have one answer for equal URLs. The URL contains the
// cursor too, for proxies that pass on only the headers that they know.
func (s *subscription) address(cursor string, poll bool) string {
	q := url.Values{"room": {s.Room}, "id": {s.ID}, "try": {rand.Text()}}
	if cursor != "" {
		q.Set("lastEventId", cursor)
	}
	if poll {
		q.Set("poll", "1")
	}
	return s.Server.URL("events", q)
}

func limitOf(heartbeat time.Duration) time.Duration {
	return time.Duration(silence * float64(heartbeat))
}

// seconds returns at most a day, because a value of the server may be too large for a duration.
func seconds(s float64) time.Duration {
	return time.Duration(math.Min(s, 86400) * float64(time.Second))
}
