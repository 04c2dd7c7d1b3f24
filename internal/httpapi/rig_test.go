package httpapi_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/auth"
	"headcount/internal/bubble"
	"headcount/internal/engine"
	"headcount/internal/httpapi"
)

// options are the options of a server in a test.
type options struct {
	Heartbeat, Linger, Drain, MaxAge time.Duration
	History, MaxStreams              int
	MaxPerIP, MaxRate                int
	MaxEvent                         int64
	Token                            string
	Key                              *auth.Key
	Private                          []string
	Origins                          auth.Origins
	Trusted                          []netip.Prefix
	Log                              *slog.Logger
}

// refusals is an observer that counts refusals and the reasons of ended streams.
type refusals struct {
	engine.Unobserved
	mu    sync.Mutex
	count map[string]int
}

func (r *refusals) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count[what]++
}

func (r *refusals) Refused(reason string, status int) { r.add(reason + " " + strconv.Itoa(status)) }
func (r *refusals) Ended(why engine.Reason)           { r.add("stream " + string(why)) }

// of returns how often that happened.
func (r *refusals) of(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[what]
}

// start returns an engine that runs until stop is called, and its handler with the command's policy.
func start(t testing.TB, opt options) (e *engine.Engine, h http.Handler, seen *refusals, stop func()) {
	t.Helper()
	seen = &refusals{count: make(map[string]int)}
	e, err := engine.New(engine.Options{
		Heartbeat: opt.Heartbeat, Linger: opt.Linger, Drain: opt.Drain, MaxAge: opt.MaxAge, History: opt.History,
		MaxStreams: opt.MaxStreams, MaxPerIP: opt.MaxPerIP, MaxRate: opt.MaxRate, Log: opt.Log, Observer: seen,
		Writer: engine.Portable, // the kernel's sockets are outside the bubble
	})
	if err != nil {
		t.Fatal(err)
	}
	policy := &auth.Policy{Token: opt.Token, Key: opt.Key, Private: opt.Private, Origins: opt.Origins}
	h = httpapi.Bounded(httpapi.New(httpapi.Options{
		Engine: e, Origins: opt.Origins, Trusted: opt.Trusted, MaxEvent: opt.MaxEvent, Log: opt.Log, Observer: seen,
		Authorize: func(r *http.Request, a httpapi.Access) error {
			until, err := policy.Authorize(r, a.Room, a.Event)
			a.EndAt(until)
			return err
		},
	}))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	return e, h, seen, func() {
		cancel()
		running.Wait()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// rig is a server in a bubble.
type rig struct {
	*bubble.Bubble
	engine  *engine.Engine
	handler http.Handler
	seen    *refusals
}

func (b *rig) users(room string) int { return b.engine.Users().Count(room) }

// inBubble runs the test in a bubble with its own server, and expects that nothing is left.
func inBubble(t *testing.T, opt options, test func(*testing.T, *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e, h, seen, stop := start(t, opt)
		t.Cleanup(stop)
		t.Cleanup(func() {
			if n := e.Streams(); n != 0 {
				t.Errorf("%d streams are left, want 0", n)
			}
		})
		test(t, &rig{bubble.Start(t, h), e, h, seen})
	})
}
