package proxies

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/test/rig"
)

// reader is a client with an id, as the browser's. It asks, reads, answers pings and comes again until it is stopped or
// killed.
type reader struct {
	*rig.Subscriber
	t   testing.TB
	via *Running

	mu    sync.Mutex
	asked bool // the last io:hello wanted answers
}

const (
	silence = 25 * time.Second // 2.5 heartbeats
	again   = 200 * time.Millisecond
)

// read starts a reader; it is stopped, without a goodbye, when the test ends.
func read(t testing.TB, via *Running, room, id string, poll bool) *reader {
	r := newReader(t, via, room, id, poll, nil)
	r.Start(t, rig.Every(again))
	return r
}

func newReader(t testing.TB, via *Running, room, id string, poll bool, from net.IP) *reader {
	r := &reader{t: t, via: via}
	r.Subscriber = &rig.Subscriber{
		URL: via.URL, Room: room, ID: id, Poll: poll, From: from, Silence: silence, Transport: via.Transport(), Take: r.take,
		Header: http.Header{"User-Agent": {"Mozilla/5.0 (test)"}, "Connection": {"keep-alive"}},
		Prepare: func(req *http.Request) {
			rig.CursorInQuery(req)
			req.URL.RawQuery += "&try=" + rand.Text() // an address of its own
		},
	}
	return r
}

// take answers what wants an answer, and keeps the rest.
func (r *reader) take(ctx context.Context, e *rig.Event) (keep bool) {
	switch e.Name {
	case "io:hello":
		var hello struct{ Ping int }
		if err := json.Unmarshal([]byte(e.Data), &hello); err != nil {
			r.t.Errorf("io:hello %s: %v", e.Data, err)
		}
		r.mu.Lock()
		r.asked = hello.Ping > 0
		r.mu.Unlock()
	case "io:ping":
	default:
		return true
	}
	if r.wantsAnswers() && !r.Poll {
		go r.Post(ctx, "/alive") // the stream is not to wait for it
	}
	return false
}

func (r *reader) wantsAnswers() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// leave stops and says goodbye, in this order and not while a request is on its way: nothing of it is to come behind
// the goodbye.
func (r *reader) leave() {
	r.t.Helper()
	rig.Wait(r.t, silence, "the client of room "+r.Room+" to rest", func() bool {
		attempts := r.Attempts()
		last := attempts[len(attempts)-1]
		return last.Ended.IsZero() && time.Since(last.Began) > 2*again
	})
	r.Stop()
	r.Post(context.Background(), "/leave")
	r.Transport.CloseIdleConnections()
}

const token = "a-token-of-the-test"

// emit emits an event at the server itself, not through the proxy.
func emit(t testing.TB, server *rig.Server, room, name, data string) {
	t.Helper()
	form := url.Values{"room": {room}, "event": {name}, "data": {data}}
	q, err := http.NewRequest(http.MethodPost, server.URL+"/emit", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	q.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatalf("emit %s: %v", name, err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("emit %s: status %s", name, answer.Status)
	}
}
