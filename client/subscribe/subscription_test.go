package subscribe

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headcount/client/retry"
	"headcount/internal/sse"
)

const hello = "event: io:hello\ndata: {\"id\":\"x\",\"ping\":0,\"heartbeat\":10}\n\n"

// After any loss the next connection follows after the time that the server asks for. It has the same client id and the
// cursor of the last whole event.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(n int, w *stream) {
			switch n {
			case 0:
				w.send("retry: 4000\n\n" + hello + "id: a1\nevent: user count\ndata: 1\n\n") // and a clean end
			case 1:
				w.send("id: a2\nevent: user count\ndata: 2\n\nid: a3")
				w.cut() // in the middle of a cursor
			case 2:
				w.w.Header().Set("Retry-After", "60")
				http.Error(w.w, `{"error":"too many streams; come back later"}`, http.StatusServiceUnavailable)
			case 3:
				w.send("id: a4\nevent: user count\ndata: 3\n\n")
				w.hold()
			}
		})
		in(t, s, func() { time.Sleep(3 * time.Minute) })

		got := s.seen("/events")
		wants := []struct {
			name     string
			min, max time.Duration // since the previous request
			cursor   string
		}{
			{"first", 0, 0, ""},
			{"after a clean end", 2 * time.Second, 4 * time.Second, "a1"},
			{"after a break", 2 * time.Second, 4 * time.Second, "a2"},
			{"after 503 with Retry-After", time.Minute + 4*time.Second, time.Minute + 8*time.Second, "a2"}, // the second back-off in a row
		}
		if len(got) != len(wants) {
			t.Fatalf("got %d requests, want %d", len(got), len(wants))
		}
		before := time.Duration(0)
		for i, want := range wants {
			if wait := got[i].at - before; wait < want.min || wait > want.max {
				t.Errorf("%s: waited %v, want %v to %v", want.name, wait, want.min, want.max)
			}
			before = got[i].at
			if got[i].cursor != want.cursor {
				t.Errorf("%s: got cursor %q, want %q", want.name, got[i].cursor, want.cursor)
			}
			if id := got[i].query.Get("id"); id != s.ID || sse.CheckClientID(id) != nil {
				t.Errorf("%s: got client id %q, want %q", want.name, id, s.ID)
			}
			if here := "http://headcount.test/"; got[i].referer != here {
				t.Errorf("%s: got Referer %q, want %q", want.name, got[i].referer, here)
			}
			if room := got[i].query.Get("room"); room != "lobby" {
				t.Errorf("%s: got room %q, want lobby", want.name, room)
			}
		}
		if want := []string{"user count 1", "user count 2", "user count 3"}; !slices.Equal(s.out, want) {
			t.Errorf("got events %q, want %q", s.out, want)
		}
	})
}

// The client asks a server that is away at growing intervals, without an end. It reports the same problem only once.
func TestServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const away = 100
		s := newScene(func(n int, w *stream) {
			switch {
			case n < away:
				http.Error(w.w, "", http.StatusBadGateway)
			default:
				w.send(hello)
				w.hold()
			}
		})
		in(t, s, func() { time.Sleep(away * retry.MaxDelay) })

		got := s.seen("/events")
		if len(got) != away+1 {
			t.Fatalf("got %d requests, want %d", len(got), away+1)
		}
		for i := 1; i < len(got); i++ {
			if wait := got[i].at - got[i-1].at; wait > retry.MaxDelay || wait < streamBase/2 {
				t.Errorf("attempt %d came after %v, want %v to %v", i, wait, streamBase/2, retry.MaxDelay)
			}
		}
		if n := len(s.told); n != away+2 || s.told[0] != "connecting" || s.told[n-1] != "connected" ||
			slices.ContainsFunc(s.told[1:n-1], func(told string) bool { return told != "lost: it answers 502 Bad Gateway" }) {
			t.Errorf("got %q; want connecting, %d times 502, connected", s.told, away)
		}
	})
}

// Comments are heartbeats too. A connection counts as lost after two and a half heartbeats without a byte. The server
// sets the heartbeat.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const beat = 40 * time.Second
		var silent time.Time
		s := newScene(func(n int, w *stream) {
			if n > 0 {
				w.mute()
				return
			}
			w.send(strings.Replace(hello, `"heartbeat":10`, `"heartbeat":40`, 1))
			for range 10 {
				time.Sleep(2 * beat)
				w.send(":\n\n")
			}
			silent = time.Now()
			w.mute()
			if got, want := time.Since(silent), limitOf(beat); got != want {
				t.Errorf("the client left after %v of silence, want %v", got, want)
			}
		})
		in(t, s, func() {
			time.Sleep(20*beat + limitOf(beat) + 5*time.Second)
			if n := len(s.seen("/events")); n != 2 {
				t.Errorf("got %d requests, want 2", n)
			}
		})
		if !slices.Contains(s.told, "lost: nothing came for too long") {
			t.Errorf("got %q, want that nothing came for too long", s.told)
		}
	})
}

// A server that accepts the request and never answers is silent too.
func TestSilenceBeforeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(_ int, w *stream) { w.mute() })
		in(t, s, func() { time.Sleep(limitOf(defaultHeartbeat) + 3*time.Second) })
		if n := len(s.seen("/events")); n != 2 {
			t.Errorf("got %d requests, want 2", n)
		}
	})
}

// The connection is not silent while the client is busy, for instance because nobody reads its output.
func TestBusyIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(_ int, w *stream) {
			for range 20 {
				w.send("data: 1\n\n")
			}
			w.hold()
		})
		handle, events := s.Handle, 0
		s.Handle = func(e *sse.Event) error {
			time.Sleep(time.Minute)
			events++
			return handle(e)
		}
		in(t, s, func() { time.Sleep(30 * time.Minute) })
		if n := len(s.seen("/events")); n != 1 || events != 20 {
			t.Errorf("got %d requests and %d events, want 1 and 20", n, events)
		}
	})
}

// The client sends answers if the hello asks for them, one at once and one for each ping.
func TestLease(t *testing.T) {
	const ping = "event: io:ping\ndata: null\n\n"
	tests := []struct {
		name  string
		hello string
		want  int
	}{
		{"asked for", "event: io:hello\ndata: {\"id\":\"x\",\"ping\":25}\n\n", 4},
		{"not asked for", hello, 0},
		{"no hello", "data: 1\n\n", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(func(_ int, w *stream) {
					w.send(tt.hello)
					for range 3 {
						time.Sleep(20 * time.Second)
						w.send(ping)
					}
					w.hold()
				})
				in(t, s, func() { time.Sleep(70 * time.Second) })
				got := s.seen("/alive")
				if len(got) != tt.want {
					t.Fatalf("got %d answers, want %d", len(got), tt.want)
				}
				for i, r := range got {
					if r.method != http.MethodPost || r.body.Room != "lobby" || !slices.Equal(r.body.IDs, []string{s.ID}) {
						t.Errorf("answer %d: got %s %+v, want POST with room lobby and id %s", i, r.method, r.body, s.ID)
					}
					if want := time.Duration(i) * 20 * time.Second; r.at != want {
						t.Errorf("answer %d came at %v, want %v", i, r.at, want)
					}
				}
			})
		})
	}
}

func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(_ int, w *stream) {
			w.send(hello)
			w.hold()
		})
		in(t, s, synctest.Wait)
		got := s.seen("/leave")
		if len(got) != 1 || got[0].method != http.MethodPost || got[0].body.Room != "lobby" || !slices.Equal(got[0].body.IDs, []string{s.ID}) {
			t.Errorf("got goodbyes %+v, want one for room lobby, id %s", got, s.ID)
		}
	})
}

// The goodbye to a server that has gone has a time limit.
func TestLeaveIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(_ int, w *stream) {
			w.send(hello)
			w.hold()
		})
		s.start()
		synctest.Wait()
		s.closing[0]() // no connection is accepted from now on
		if took := s.end(); took > leaveTime {
			t.Errorf("the end took %v, want at most %v", took, leaveTime)
		}
	})
}

// The user gets only events, and no signals, no comments, no bare retry, and nothing without data.
func TestSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(_ int, w *stream) {
			w.send("retry: 1000\n\n" + hello + "id: 7\nevent: user count\ndata: 1\n\n")
			w.send(":\n\n: comment\n\nretry: 2000\n\nid: 8\n\nevent: nothing\n\n")
			w.send("event: io:ping\ndata: null\n\nevent: io:new\ndata: 1\n\n")
			w.send("event: io:gap\ndata: {\"missed\":3}\n\nevent: io:gap\ndata: {\"missed\":null}\n\n")
			w.send("data: two\ndata: lines\n\n")
			w.hold()
		})
		in(t, s, synctest.Wait)
		if want := []string{"user count 1", "message two\nlines"}; !slices.Equal(s.out, want) {
			t.Errorf("got events %q, want %q", s.out, want)
		}
		for _, want := range []string{"missing 3", "missing -1"} {
			if !slices.Contains(s.told, want) {
				t.Errorf("got %q, want %q", s.told, want)
			}
		}
	})
}

// An error of Handle, such as a closed pipe, ends the subscription with a goodbye.
func TestHandleError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(_ int, w *stream) {
			w.send(hello + "data: 1\n\ndata: 2\n\n")
			w.hold()
		})
		enough, calls := errors.New("enough"), 0
		s.Handle = func(*sse.Event) error { calls++; return enough }
		s.start()
		err := <-s.done
		s.done <- nil // end reads it
		s.end()
		if err != enough || calls != 1 || len(s.seen("/leave")) != 1 {
			t.Errorf("got error %v after %d events and %d goodbyes, want %v after 1 and 1", err, calls, len(s.seen("/leave")), enough)
		}
	})
}
