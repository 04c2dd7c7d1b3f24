package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/internal/sse/ssetest"
)

// Event is an event as a browser would dispatch it, and when it came.
type Event struct {
	ssetest.Event
	At time.Time
}

// Attempt is one stream or one poll of a subscriber, from the request to the end.
type Attempt struct {
	URL, Cursor          string
	Began, Opened, Ended time.Time // the zero time until then; Opened when the server has answered 200
	Err                  error     // why it ended
}

// Refused is an answer without events.
type Refused struct {
	Status int
	Type   string        // its Content-Type
	After  time.Duration // its Retry-After, -1 without one
}

func (e *Refused) Error() string {
	return fmt.Sprintf("got status %d, type %q, want 200 and text/event-stream", e.Status, e.Type)
}

var (
	// ErrCut ends a stream that the test has cut.
	ErrCut = errors.New("cut by the test")
	// ErrSilent ends a stream on which nothing has come for the time of Subscriber.Silence.
	ErrSilent = errors.New("nothing came")
)

// Subscriber is the client with which tests read events. It reconnects with its cursor, keeps what it gets, and can
// end in every way in which clients end. Set the exported fields before the first use and do not change them
// afterwards. Its methods may be called by several goroutines.
type Subscriber struct {
	URL  string // of the server
	Room string // "" = the default
	ID   string // client id, "" = none
	Poll bool

	Header http.Header // what else the requests have
	// Prepare changes each request before it goes out, for example to another node.
	Prepare func(*http.Request)
	// Take gets each event in its order and reports whether it is kept. It may change what is kept. Nil keeps all. Its
	// context ends with the attempt.
	Take func(context.Context, *Event) (keep bool)
	// Silence ends a stream or a poll on which nothing comes for so long. 0 = never.
	Silence time.Duration
	// Transport sends the requests. Nil = each has a plain connection of its own, which costs the test one goroutine.
	Transport *http.Transport
	From      net.IP // own address, nil = any

	setup  sync.Once
	cancel context.CancelFunc // of Start
	done   chan struct{}

	mu       sync.Mutex
	cursor   string
	count    int
	events   []Event
	attempts []Attempt
	conns    []*net.TCPConn
	cut      bool          // the current attempt
	dead     bool          // makes no more connections
	frozen   chan struct{} // closed when it thaws; nil while it is not frozen
}

// Subscribe opens a stream without a client id and reads it until the test ends.
func Subscribe(t testing.TB, url, room string) *Subscriber {
	s := &Subscriber{URL: url, Room: room}
	s.Start(t, Once)
	return s
}

// Again decides after an attempt has ended whether to make another one, and how long to wait before it.
type Again func(err error) (wait time.Duration, more bool)

// Once makes no second attempt.
func Once(error) (time.Duration, bool) { return 0, false }

// Every makes one attempt after the other, with the same pause between them.
func Every(wait time.Duration) Again {
	return func(error) (time.Duration, bool) { return wait, true }
}

// Start follows the room in the background until Stop or the end of the test.
func (s *Subscriber) Start(t testing.TB, again Again) {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go func() {
		defer close(s.done)
		s.Follow(ctx, again)
	}()
	t.Cleanup(s.Stop)
}

// Stop ends what Start has started, without a goodbye, and waits for it.
func (s *Subscriber) Stop() {
	s.cancel()
	s.Thaw()
	<-s.done
	if s.Transport != nil {
		s.Transport.CloseIdleConnections()
	}
}

// Follow makes one attempt after the other, until ctx ends or again returns false.
func (s *Subscriber) Follow(ctx context.Context, again Again) {
	for ctx.Err() == nil {
		wait, more := again(s.Read(ctx))
		if !more || s.isDead() {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// Read reads one stream or one poll to its end and returns why it ended. That is io.EOF if the server ended it
// properly.
func (s *Subscriber) Read(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := s.request(ctx, http.MethodGet, "/events", nil)
	if err != nil {
		return err
	}
	end := s.begin(req)
	defer func() {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		err = end(err)
	}()
	heard := func() {}
	if s.Silence > 0 {
		watchdog := time.AfterFunc(s.Silence, func() {
			s.whileFrozen()
			cancel(ErrSilent)
		})
		defer watchdog.Stop()
		heard = func() { watchdog.Reset(s.Silence) }
	}
	resp, err := s.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	kind := resp.Header.Get("Content-Type")
	if resp.StatusCode != http.StatusOK || kind != "text/event-stream" && !(s.Poll && strings.HasPrefix(kind, "text/plain")) {
		refused := &Refused{Status: resp.StatusCode, Type: kind, After: -1}
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			refused.After = time.Duration(seconds) * time.Second
		}
		return refused
	}
	s.opened()
	return s.Consume(ctx, &listener{resp.Body, heard})
}

// Consume reads the events of a body to its end. Somebody else has sent the request.
func (s *Subscriber) Consume(ctx context.Context, body io.Reader) error {
	for in := ssetest.NewReader(body); ; {
		b, err := in.Block()
		if err != nil {
			return err // what was not complete never happened
		}
		keep := b.Dispatched
		e := Event{b.Event, time.Now()}
		if keep && s.Take != nil {
			keep = s.Take(ctx, &e)
		}
		s.mu.Lock()
		if id := in.LastEventID(); id != "" { // "" = none in this body so far
			s.cursor = id
		}
		if b.Dispatched && e.Name == "user count" {
			s.count, _ = strconv.Atoi(b.Data)
		}
		if keep {
			s.events = append(s.events, e)
		}
		s.mu.Unlock()
	}
}

// Post sends POST /alive or /leave for the subscriber's id.
func (s *Subscriber) Post(ctx context.Context, path string) error {
	body, err := json.Marshal(map[string]any{"room": s.Room, "ids": []string{s.ID}})
	if err != nil {
		return err
	}
	req, err := s.request(ctx, http.MethodPost, path, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	resp, err := s.send(req)
	if errors.Is(err, io.EOF) {
		// The connection was closed before an answer. Browsers then ask again on a new one, also for a POST.
		req.Body, _ = req.GetBody()
		resp, err = s.send(req)
	}
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("POST %s: got %s, want 204", path, resp.Status)
	}
	return nil
}

func (s *Subscriber) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	if err != nil {
		return nil, err
	}
	for name, values := range s.Header {
		req.Header[name] = values
	}
	if method == http.MethodGet {
		query := url.Values{}
		for name, value := range map[string]string{"room": s.Room, "id": s.ID} {
			if value != "" {
				query.Set(name, value)
			}
		}
		if s.Poll {
			query.Set("poll", "1")
		}
		req.URL.RawQuery = query.Encode()
		if cursor := s.Cursor(); cursor != "" {
			req.Header.Set("Last-Event-ID", cursor)
		}
	}
	if s.Prepare != nil {
		s.Prepare(req)
	}
	return req, nil
}

// CursorInQuery moves the cursor of a request from its header to its query, where io.js puts it.
func CursorInQuery(req *http.Request) {
	if cursor := req.Header.Get("Last-Event-ID"); cursor != "" {
		req.Header.Del("Last-Event-ID")
		req.URL.RawQuery += "&lastEventId=" + url.QueryEscape(cursor)
	}
}

// begin notes an attempt. The function it returns notes its end.
func (s *Subscriber) begin(req *http.Request) (end func(error) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := len(s.attempts)
	s.attempts = append(s.attempts, Attempt{URL: req.URL.String(), Cursor: s.cursor, Began: time.Now()})
	s.cut = false
	return func(err error) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.cut {
			err = ErrCut
		}
		s.attempts[i].Ended, s.attempts[i].Err = time.Now(), err
		return err
	}
}

func (s *Subscriber) opened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts[len(s.attempts)-1].Opened = time.Now()
}

// Attempts returns all attempts so far.
func (s *Subscriber) Attempts() []Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.attempts)
}

// Cursor returns how far the subscriber has read. The next request has it as Last-Event-ID.
func (s *Subscriber) Cursor() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor
}

// SetCursor sets the cursor of the next attempt.
func (s *Subscriber) SetCursor(cursor string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor = cursor
}

// Count returns the last user count, 0 before the first.
func (s *Subscriber) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Events returns the events that were kept.
func (s *Subscriber) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Forget drops the events that were kept.
func (s *Subscriber) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = nil
}

// Got returns the events of one name that were kept.
func (s *Subscriber) Got(name string) []Event {
	return slices.DeleteFunc(s.Events(), func(e Event) bool { return e.Name != name })
}

// Last returns the last event of a name that was kept, the zero event if there is none.
func (s *Subscriber) Last(name string) Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range slices.Backward(s.events) {
		if e.Name == name {
			return e
		}
	}
	return Event{}
}

// Await waits until the last event of the name has this data.
func (s *Subscriber) Await(t testing.TB, deadline time.Duration, name, data string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the subscriber %q of room %q has %v", s.ID, s.Room, s.Events())
		}
	}()
	Wait(t, deadline, fmt.Sprintf("%s %s at the subscriber %q of room %q", name, data, s.ID, s.Room), func() bool {
		last := s.Last(name)
		return last.Name == name && last.Data == data
	})
}

// AwaitCount waits until the last user count is n.
func (s *Subscriber) AwaitCount(t testing.TB, deadline time.Duration, n int) {
	t.Helper()
	Wait(t, deadline, fmt.Sprintf("count %d at the subscriber %q of room %q", n, s.ID, s.Room), func() bool { return s.Count() == n })
}

// listener gets a signal each time an event comes.
type listener struct {
	io.Reader
	heard func()
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	l.heard()
	return n, err
}
