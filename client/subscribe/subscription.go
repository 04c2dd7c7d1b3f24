// Package subscribe follows a room of a headcount server, over as many connections as it takes: streams, or polls where
// no stream arrives. It is the only package that knows the client of r3labs/sse, which reads one stream each time.
//
// Follow is the whole of it. It calls Handle and Notify one at a time, from its own goroutine, and reads nothing while
// they run. All that it starts has ended when it returns. Tests run it in a synctest bubble against a real HTTP server,
// and hold its machine against docs/transport.json.
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
	// silence is how many heartbeats may fail to come before a connection counts as lost.
	silence = 2.5
	// defaultHeartbeat is the longest silence of a server that does not say its own.
	defaultHeartbeat = 10 * time.Second
	// pollLimit is how long an answer to a poll may take: a server takes up to 20 s.
	pollLimit = 30 * time.Second
	// The bases of delays until the server says otherwise.
	streamBase = time.Second
	pollBase   = 200 * time.Millisecond
)

// Options say what to follow.
type Options struct {
	Server *remote.Server
	Room   string
	ID     string // client id; empty = a random one
	// Handle gets each event but the server's own signals. An error ends the subscription.
	Handle func(*sse.Event) error
	// Notify is told how the connection is doing; nil = nobody wants to know.
	Notify func(Change)
}

// Kind says what has changed.
type Kind int

const (
	Connecting Kind = iota // the beginning
	Connected              // the first event of a connection is here
	Lost                   // there is no connection, and the next attempt has to wait
	Polling                // streams do not arrive, and polls do
	Streaming              // streams arrive again
	Missing                // events are missing
)

// Change is something about the connection.
type Change struct {
	Kind   Kind
	Err    error         // why it is lost
	Wait   time.Duration // until the next attempt
	Missed int           // how many events are missing, -1 = the server does not know
}

// subscription is one room's events. One client id for all connections makes them one user.
type subscription struct {
	Options
	state    state
	failures int  // back-offs in a row
	worked   bool // an event has come at least once
	unheard  bool // the last POST /alive of this attempt did not arrive; read it after the attempt

	cursor     string        // the id of the last event
	counted    string        // the version of the last user count
	streamBase time.Duration // the server's wish for the time between streams
	pollBase   time.Duration // and between polls
	trial      trial
}

// Follow connects, and connects again for ever, until Handle returns an error, or ctx ends, or waiting cannot help. It
// returns that error, or the cause of ctx's end. At the end it says goodbye to the server.
func Follow(ctx context.Context, o Options) error { return newSubscription(o).follow(ctx) }

func newSubscription(o Options) *subscription {
	o.ID = cmp.Or(o.ID, rand.Text())
	if o.Notify == nil {
		o.Notify = func(Change) {}
	}
	return &subscription{Options: o, state: connecting, streamBase: streamBase, pollBase: pollBase, trial: trial{patience: trialAfter}}
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

// step goes to the next state and says how long to wait there. It returns an error if waiting cannot help.
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
			s.trial.due = time.Now().Add(s.trial.patience)
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
	if !remote.Waiting(why, s.worked) {
		return 0, why
	}
	wait := retry.Delay(s.streamBase, s.failures, after, mathrand.Float64())
	s.failures++
	s.trial.due = time.Time{} // the network may be another one
	s.Notify(Change{Kind: Lost, Err: why, Wait: wait})
	s.Server.Reset()
	return wait, nil
}

// handleError is an error of Handle, as opposed to one of the connection.
type handleError struct{ error }

// attempt is one request, from its beginning to the end of its answer. It reports whether an event came.
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
			return // the library passes on what it has read already
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

// read does the request and calls got for each event.
func (s *subscription) read(ctx context.Context, poll bool, dog *watchdog, got func(*sse.Event)) error {
	cursor := s.cursor
	if s.state == checking {
		// A cursor that lacks its last part, the version of the states, is answered at once.
		cursor = cursor[:strings.LastIndexByte(cursor, '.')+1]
	}
	address := s.address(cursor, poll)
	client := r3labs.NewClient(address, r3labs.ClientMaxBufferSize(remote.MaxEvent))
	client.Connection = s.Server.HTTP
	client.ReconnectStrategy = &backoff.StopBackOff{} // one attempt: the loop around it is ours
	for name, values := range s.Server.Header() {
		client.Headers[name] = values[0]
	}
	if poll {
		client.Headers["Accept"] = "text/plain" // what refuses event streams lets it pass
	}
	if cursor != "" {
		client.LastEventID.Store([]byte(cursor))
	}
	client.ResponseValidator = func(_ *r3labs.Client, resp *http.Response) error {
		if asked, err := url.Parse(address); err == nil {
			s.Server.Follow(asked, resp.Request.URL)
		}
		if err := remote.CheckStream(resp, poll); err != nil {
			resp.Body.Close() // the library does not
			return err
		}
		resp.Body = newBody(resp.Body, dog)
		return nil
	}
	return client.SubscribeRawWithContext(ctx, got)
}

// take looks at one event and hands it on if it is for the user.
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
		lease.ask() // the first answer confirms that the stream arrives
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
		// A comment, and a block with nothing but "retry:", comes as an event that has at most an id. "If the data buffer is
		// an empty string, set the data buffer and the event type buffer to the empty string and return."
		if len(e.Data) == 0 || strings.HasPrefix(name, sse.SignalPrefix) || name == sse.UserCount && s.isKnown(e) {
			return nil
		}
		return s.Handle(e)
	}
	return nil
}

// isKnown reports whether a poll brings the same user count once more.
func (s *subscription) isKnown(e *sse.Event) bool {
	parts := strings.SplitN(string(e.ID), ".", 3)
	version := parts[len(parts)-1] // of the states
	known := s.state.polls() && version != "" && version == s.counted
	s.counted = version
	return known
}

// address is another one each time: something on the way may have one answer for all that ask for the same. The cursor is
// in it too, for boxes that pass on only the headers they know.
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

// seconds is at most a day: what a server says may be too much for a duration.
func seconds(s float64) time.Duration {
	return time.Duration(math.Min(s, 86400) * float64(time.Second))
}
