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

// scene is a subscription and a real HTTP server that speak over net.Pipe, so that both live in a synctest bubble, where
// time passes at once when all wait.
type scene struct {
	*subscription
	ctx    context.Context
	cancel context.CancelFunc
	out    []string // what handle got, "NAME DATA"; read it after end
	told   []string // what Notify got, in words; read it after end
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
	accept       string
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

// words are what a change says.
func words(c Change) string {
	switch c.Kind {
	case Lost:
		return "lost: " + remote.Reason(c.Err)
	case Missing:
		return fmt.Sprintf("missing %d", c.Missed)
	}
	return map[Kind]string{Connecting: "connecting", Connected: "connected", Polling: "polling", Streaming: "streaming"}[c.Kind]
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

// in runs f in a bubble with a scene that has started, and ends the scene.
func in(t *testing.T, s *scene, f func()) {
	t.Helper()
	s.start()
	f()
	s.end()
}
