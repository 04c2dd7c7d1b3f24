package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/internal/sse"
)

// scene is a subscription and a real HTTP server that speak over net.Pipe, so that both live in a synctest bubble, where
// time passes at once when all wait.
type scene struct {
	*subscription
	ctx    context.Context
	cancel context.CancelFunc
	out    []string // what handle got, "NAME DATA"; read it after end
	stderr strings.Builder
	begin  time.Time
	refuse int // what every POST is answered with; 0 = nothing is wrong with it

	mu       sync.Mutex
	requests []request
	done     chan error
	closing  []func()
}

// request is what the server saw.
type request struct {
	at           time.Duration // since the beginning
	method, path string
	cursor       string
	referer      string
	query        url.Values
	body         struct {
		Room string
		IDs  []string
	}
}

// newScene starts a server with the given answer to the n-th GET /events, n from 0, and a subscription that follows it.
// It must be called in a bubble and its end called there too.
func newScene(answer func(n int, w *stream)) *scene {
	s := &scene{begin: time.Now(), done: make(chan error, 1)}
	listener := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := s.saw(r)
		if r.URL.Path == "/events" {
			answer(n, &stream{w, r})
		} else {
			w.WriteHeader(cmp.Or(s.refuse, http.StatusNoContent))
		}
	})}
	go server.Serve(listener)

	base, _ := url.Parse("http://headcount.test")
	s.subscription = newSubscription(base, "lobby", &s.stderr, func(e *sse.Event) error {
		s.out = append(s.out, eventName(e)+" "+string(e.Data))
		return nil
	})
	transport := s.http.Transport.(*http.Transport)
	transport.Proxy = nil
	transport.DialContext = listener.dial
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.closing = append(s.closing, func() { server.Close() })
	return s
}

// start begins to follow; end is due afterwards.
func (s *scene) start() {
	go func() { s.done <- s.follow(s.ctx) }()
}

// end does what ctrl-C does, and says how long the subscription took to end.
func (s *scene) end() time.Duration {
	begin := time.Now()
	s.cancel()
	<-s.done
	took := time.Since(begin)
	for _, f := range s.closing {
		f()
	}
	return took
}

// saw notes a request and returns how many of GET /events came before it.
func (s *scene) saw(r *http.Request) int {
	req := request{
		at: time.Since(s.begin), method: r.Method, path: r.URL.Path,
		cursor: r.Header.Get("Last-Event-ID"), referer: r.Referer(), query: r.URL.Query(),
	}
	if r.Method == http.MethodPost {
		json.NewDecoder(r.Body).Decode(&req.body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, req)
	return s.countLocked("/events") - 1
}

func (s *scene) countLocked(path string) int {
	n := 0
	for _, r := range s.requests {
		if r.path == path {
			n++
		}
	}
	return n
}

// seen returns the requests for a path so far.
func (s *scene) seen(path string) []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.requests), func(r request) bool { return r.path != path })
}

// stream is the answer to one GET /events.
type stream struct {
	w http.ResponseWriter
	r *http.Request
}

// send writes to an event stream, which begins with the first call.
func (s *stream) send(text string) {
	s.w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(s.w, text)
	s.w.(http.Flusher).Flush()
}

// hold sends heartbeats until the client goes.
func (s *stream) hold() {
	for {
		select {
		case <-s.r.Context().Done():
			return
		case <-time.After(defaultHeartbeat):
			s.send(":\n\n")
		}
	}
}

// mute sends nothing until the client goes.
func (s *stream) mute() { <-s.r.Context().Done() }

// wait waits, unless the client goes before.
func (s *stream) wait(d time.Duration) {
	select {
	case <-s.r.Context().Done():
	case <-time.After(d):
	}
}

// cut breaks the connection, without the end that HTTP would put there.
func (s *stream) cut() { panic(http.ErrAbortHandler) }

// pipeListener hands the far ends of net.Pipe to a server.
type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "bubble"} }

// in runs f in a bubble with a scene that has started, and ends the scene.
func in(t *testing.T, s *scene, f func()) {
	t.Helper()
	s.start()
	f()
	s.end()
}
