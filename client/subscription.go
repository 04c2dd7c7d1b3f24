package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	r3labs "github.com/r3labs/sse/v2"
	"gopkg.in/cenkalti/backoff.v1"

	"headcount/internal/sse"
)

// silence is how many heartbeats may fail to come before a connection counts as lost.
const silence = 2.5

// defaultHeartbeat is the longest silence of a server that does not say its own.
const defaultHeartbeat = 10 * time.Second

// Why a connection that was there is lost.
var (
	errEnded  = errors.New("stream ended")
	errSilent = errors.New("stream silent")
	errHeld   = errors.New("stream held back")
)

// subscription is one room's events, over as many connections as it takes: streams, or polls where no stream arrives.
type subscription struct {
	base    *url.URL
	room    string
	token   string // for private rooms; "" = none
	id      string // client id: one for all connections, so that they are one user
	http    *http.Client
	console *console
	// handle gets each event but the server's own signals, one at a time. An error ends the subscription.
	handle func(*sse.Event) error
	// broken is called whenever the connection is lost; nil = nobody wants to know.
	broken func()

	cursor  string        // the id of the last event
	counted string        // the version of the last user count
	retry   time.Duration // the server's wish for the time between attempts

	way way
}

func newSubscription(base *url.URL, room string, stderr io.Writer, handle func(*sse.Event) error) *subscription {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // a compressed stream is a late one
	return &subscription{
		base: base, room: room, id: rand.Text(),
		http:    &http.Client{Transport: transport},
		console: &console{w: stderr, server: base.Redacted()},
		handle:  handle,
		retry:   firstBase,
		way:     way{patience: trialAfter},
	}
}

// follow connects, and connects again for ever, until handle returns an error, which it returns, or ctx ends.
func (s *subscription) follow(ctx context.Context) error {
	defer s.http.CloseIdleConnections()
	defer s.leave(ctx)
	trials, cancel := context.WithCancel(ctx)
	defer s.way.trials.Wait()
	defer cancel()
	s.console.connecting(s.room)
	for failures := 0; ; failures++ {
		heard, err := s.attempt(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var ended *handleError
		if errors.As(err, &ended) {
			return ended.error
		}
		if heard {
			failures = 0
		}
		wait := s.wait(err, failures)
		switch s.way.next(heard, err) {
		case onward:
			failures = 0
			s.choose(trials)
		case otherWay:
			failures--
			wait = 0
		case lost:
			if s.broken != nil {
				s.broken()
			}
			s.console.lost(err, wait)
			// An idle connection may be as dead as the one that was lost.
			s.http.CloseIdleConnections()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// wait is the time until the next attempt.
func (s *subscription) wait(err error, failures int) time.Duration {
	var refused *refusedError
	if errors.As(err, &refused) && refused.after > 0 {
		return delayAfter(refused.after, s.retry, mathrand.Float64())
	}
	return delay(s.retry, failures, mathrand.Float64())
}

// handleError is an error of handle, as opposed to one of the connection.
type handleError struct{ error }

// attempt is one connection, from the request to its end. It says whether an event came.
func (s *subscription) attempt(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	limit := limitOf(defaultHeartbeat)
	if s.way.polls {
		limit = pollLimit
	}
	dog := newWatchdog(limit, func() { cancel(errSilent) })
	asking, came := ctx, func() {}
	if !s.way.polls {
		asking, came = awaitEvent(ctx, func() { cancel(errHeld) })
	}
	defer came()
	s.way.unanswered = false
	lease := &lease{s: s, wanted: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { lease.renew(ctx) })
	defer wg.Wait()
	defer cancel(nil)
	defer dog.wait(false)

	cursor := s.way.ask(s.cursor)
	client := r3labs.NewClient(s.eventsURL(cursor, s.way.polls), r3labs.ClientMaxBufferSize(maxEvent))
	client.Connection = s.http
	for name, values := range s.header() {
		client.Headers[name] = values[0]
	}
	client.ReconnectStrategy = &backoff.StopBackOff{} // one attempt: the loop around it is ours
	if cursor != "" {
		client.LastEventID.Store([]byte(cursor))
	}
	client.ResponseValidator = func(_ *r3labs.Client, resp *http.Response) error {
		if err := validate(resp); err != nil {
			resp.Body.Close() // the library does not
			return err
		}
		resp.Body = newBody(resp.Body, dog)
		return nil
	}
	err = client.SubscribeRawWithContext(asking, func(e *sse.Event) {
		if ctx.Err() != nil {
			return // the library passes on what it has read already
		}
		if !heard {
			heard = true
			came()
			s.console.connected()
		}
		if err := s.take(e, dog, lease); err != nil {
			cancel(&handleError{err})
		}
	})
	if ctx.Err() != nil {
		return heard, context.Cause(ctx)
	}
	if err == nil {
		err = errEnded
	}
	return heard, err
}

// take looks at one event and hands it on if it is for the user.
func (s *subscription) take(e *sse.Event, dog *watchdog, lease *lease) error {
	if len(e.ID) > 0 {
		s.cursor = string(e.ID)
	}
	if base, ok := parseRetry(e.Retry); ok {
		s.retry = base
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
		s.console.gap(e.Data)
	default:
		// A comment, and a block with nothing but "retry:", comes as an event that has at most an id. "If the data buffer is
		// an empty string, set the data buffer and the event type buffer to the empty string and return."
		if len(e.Data) == 0 || strings.HasPrefix(name, sse.SignalPrefix) {
			return nil
		}
		if name == sse.UserCount && s.known(e) {
			return nil
		}
		return s.handle(e)
	}
	return nil
}

// known says that a poll brings the user count once more.
func (s *subscription) known(e *sse.Event) bool {
	version := statesOf(string(e.ID))
	known := s.way.polls && version != "" && version == s.counted
	s.counted = version
	return known
}

func limitOf(heartbeat time.Duration) time.Duration {
	return time.Duration(silence * float64(heartbeat))
}

// seconds is at most a day: what a server says may be too much for a duration.
func seconds(s float64) time.Duration { return time.Duration(min(s, 86400) * float64(time.Second)) }

// header is what every request for events bears. Referer says where this client asked: the server knows by it that
// something in between passed the request on, also where that has put another address into Host.
func (s *subscription) header() http.Header {
	from := url.URL{Scheme: s.base.Scheme, Host: s.base.Host, Path: "/"} // and no password
	h := http.Header{"Referer": {from.String()}}
	if s.token != "" {
		h.Set("Authorization", "Bearer "+s.token)
	}
	return h
}

// eventsURL is another one each time: something on the way may have one answer for all that ask for the same. The cursor
// is in it too, for boxes that pass on only the headers they know.
func (s *subscription) eventsURL(cursor string, poll bool) string {
	u := s.base.JoinPath("events")
	q := url.Values{"room": {s.room}, "id": {s.id}, "try": {rand.Text()}}
	if cursor != "" {
		q.Set("lastEventId", cursor)
	}
	if poll {
		q.Set("poll", "1")
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// refusedError is an answer that is no stream.
type refusedError struct {
	why    string
	after  time.Duration // Retry-After, 0 if there was none
	again  bool          // to ask again may help
	status int           // of the answer that said so, 0 if it was a good one
	own    bool          // the server itself says so
}

func (e *refusedError) Error() string { return e.why }

// refusal is what an answer says that is not a good one.
func refusal(resp *http.Response) *refusedError {
	sentence := errorOf(resp)
	return &refusedError{
		why: whyRefused(resp, sentence), after: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
		status: resp.StatusCode, own: sentence != "",
	}
}

// validate returns an error unless resp is an event stream.
func validate(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	kind := resp.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(kind); err != nil || media != "text/event-stream" {
		return &refusedError{why: fmt.Sprintf("it answers with %q, not with a stream; is it a headcount server?", kind)}
	}
	return nil
}

// errorOf returns the server's own sentence of an answer that refuses something, if it has one.
func errorOf(resp *http.Response) string {
	var answer struct{ Error string }
	if json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&answer) != nil {
		return ""
	}
	return answer.Error
}
