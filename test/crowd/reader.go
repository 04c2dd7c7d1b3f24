package crowd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"headcount/test/rig"
)

// reader is one subscriber. After a cut it returns with its cursor.
type reader struct {
	*rig.Subscriber
	crowd *Crowd
	kind  Kind
	next  atomic.Int64 // number of the event that is due

	mu    sync.Mutex
	wrong string
}

func (c *Crowd) newReader(kind Kind, id string) *reader {
	r := &reader{crowd: c, kind: kind}
	r.Subscriber = &rig.Subscriber{URL: c.server.URL, Room: c.Room, ID: id, Poll: kind == Polling, Take: r.take}
	if kind == Proxied {
		r.Header = http.Header{"X-Forwarded-For": {"192.0.2.1"}}
	}
	r.Start(c.t, r.again)
	return r
}

// again decides what follows the end of a stream or poll.
func (r *reader) again(err error) (wait time.Duration, more bool) {
	var no *rig.Refused
	switch {
	case errors.Is(err, rig.ErrCut):
		return 0, true
	case errors.As(err, &no) && (no.Status == http.StatusServiceUnavailable || no.Status == http.StatusTooManyRequests):
		if no.After < 0 {
			r.blame(fmt.Sprintf("got status %d without Retry-After", no.Status))
			return 0, false
		}
		return no.After, true
	case r.kind == Polling && err == io.EOF:
		return 100 * time.Millisecond, true
	case !errors.Is(err, context.Canceled) && !r.crowd.closing():
		r.blame(fmt.Sprintf("stream ended by itself: %v", err))
	}
	return 0, false
}

func (r *reader) take(_ context.Context, e *rig.Event) (keep bool) {
	switch e.Name {
	case "user count":
		if _, err := strconv.Atoi(e.Data); err != nil {
			r.blame("got the count " + e.Data)
		}
	case "n":
		var n numbered
		if err := json.Unmarshal([]byte(e.Data), &n); err != nil {
			r.blame(fmt.Sprintf("got the data %.80q", e.Data))
			return false
		}
		if want := r.next.Load(); n.N != want {
			r.blame(fmt.Sprintf("got event %d, want %d", n.N, want))
			return false
		}
		if r.kind != Polling { // their pause is no lateness
			r.crowd.delivered(time.Since(time.Unix(0, n.At)))
		}
		r.next.Add(1)
	case "io:gap":
		r.blame("was told of a gap: " + e.Data)
	case "io:hello", "io:ping":
		if r.kind == Proxied {
			// On a connection that the test does not cut.
			if err := r.crowd.alive(r.ID); err != nil {
				r.blame("answer " + e.Name + ": " + err.Error())
			}
		}
	default:
		r.blame(fmt.Sprintf("got the event %.80q, which nobody emitted", e.Name))
	}
	return false
}

// blame takes down the first thing that went wrong.
func (r *reader) blame(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wrong == "" && !r.crowd.closing() {
		r.wrong = what
	}
}

func (r *reader) fault() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong
}
