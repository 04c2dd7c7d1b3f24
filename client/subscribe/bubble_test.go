package subscribe

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/client/remote"
	"headcount/client/remote/remotetest"
	"headcount/internal/sse"
)

// scene is a subscription and a real HTTP server that are connected by net.Pipe. Both run in a synctest bubble, in
// which time advances at once when all goroutines wait.
type scene struct {
	*subscription
	ctx    context.Context
	cancel context.CancelFunc
	out    []string // events that Handle got, "NAME DATA"; read it after end
	told   []string // changes that Notify got, in words; read it after end
	begin  time.Time
	refuse int // the status of every response to a POST; 0 = success

	mu       sync.Mutex
	requests []request
	done     chan error
	closing  []func()
}

// request is a request that the server received.
type request struct {
	at           time.Duration // since the start
	method, path string
	cursor       string
	accept       string
	referer      string
	query        url.Values
	body         struct {
		Room string
		IDs  []string
	}
}

// newScene starts a server with the given answer to the n-th GET /events, n from 0, and a subscription that follows it.
// Call it and end it in a bubble.
func newScene(answer func(n int, w *stream)) *scene {
	s := &scene{begin: time.Now(), done: make(chan error, 1)}
	base, _ := url.Parse("http://headcount.test")
	server := remote.New(base, "")
	stop := remotetest.Start(server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := s.saw(r)
		if strings.HasSuffix(r.URL.Path, "/events") {
			answer(n, &stream{w, r})
		} else {
			w.WriteHeader(cmp.Or(s.refuse, http.StatusNoContent))
		}
	}))
	s.subscription = newSubscription(Options{
		Server: server, Room: "lobby",
		Handle: func(e *sse.Event) error {
			s.out = append(s.out, cmp.Or(string(e.Event), "message")+" "+string(e.Data))
			return nil
		},
		Notify: func(c Change) { s.told = append(s.told, words(c)) },
	})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.closing = append(s.closing, stop)
	return s
}

// words returns a change in words.
func words(c Change) string {
	switch c.Kind {
	case Lost:
		return "lost: " + remote.Reason(c.Err)
	case Missing:
		return fmt.Sprintf("missing %d", c.Missed)
	}
	return map[Kind]string{Connecting: "connecting", Connected: "connected", Polling: "polling", Streaming: "streaming"}[c.Kind]
}

// start starts the subscription. The caller must call end.
func (s *scene) start() {
	go func() { s.done <- s.follow(s.ctx) }()
}

// end does what ctrl-C does, and returns how long the subscription took to end.
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

// saw records a request and returns how many GET /events came before it.
func (s *scene) saw(r *http.Request) int {
	req := request{
		at: time.Since(s.begin), method: r.Method, path: r.URL.Path,
		cursor: r.Header.Get("Last-Event-ID"), accept: r.Header.Get("Accept"), referer: r.Referer(), query: r.URL.Query(),
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

// stream is the response to one GET /events.
type stream struct {
	w http.ResponseWriter
	r *http.Request
}

// send writes to an event stream. The first call starts the stream.
func (s *stream) send(text string) {
	s.w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(s.w, text)
	s.w.(http.Flusher).Flush()
}

// hold sends heartbeats until the client has gone.
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

// mute sends nothing until the client has gone.
func (s *stream) mute() { <-s.r.Context().Done() }

// wait waits until the time is over or the client has gone.
func (s *stream) wait(d time.Duration) {
	select {
	case <-s.r.Context().Done():
	case <-time.After(d):
	}
}

// cut breaks the connection without a clean end.
func (s *stream) cut() { panic(http.ErrAbortHandler) }

// in runs f in a bubble with a scene that has started, and ends the scene.
func in(t *testing.T, s *scene, f func()) {
	t.Helper()
	s.start()
	f()
	s.end()
}
