//go:build linux

package wire_test

import (
	"strings"
	"testing"
	"time"
)

// A heartbeat follows silence, never later than configured. It is a comment, or io:ping for a client with an id.
func TestHeartbeat(t *testing.T) {
	writersAtOnce(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start(func(r *rig) { r.heartbeat = 400 * time.Millisecond })
		anonymous, named := r.open("room=a"), r.open("room=a&id=abcdefgh")
		anonymous.Line() // retry
		named.event()    // io:hello
		beats := []func(){
			func() {
				if line, err := anonymous.Line(); err != nil || line != ":" {
					t.Fatalf("got %q, %v, want a comment", line, err)
				}
			},
			func() {
				if e := named.event(); e.Name != "io:ping" {
					t.Fatalf("got %+v, want a ping", e)
				}
			},
		}
		shortest, last := []time.Duration{time.Hour, time.Hour}, []time.Time{time.Now(), time.Now()}
		for range 4 {
			for i, beat := range beats {
				beat()
				now := time.Now()
				shortest[i], last[i] = min(shortest[i], now.Sub(last[i])), now
			}
		}
		// A busy machine makes some late, but not all.
		for i, silence := range shortest {
			if silence < r.heartbeat/2 || silence > r.heartbeat+r.heartbeat/10 {
				t.Errorf("the shortest of 4 silences of client %d is %v, want %v to %v", i, silence, r.heartbeat/2, r.heartbeat)
			}
		}
	})
}

// A client with an id gets io:ping while events flow, too. An EventSource hides events without a listener from its
// page, so they are no sign of life.
func TestHeartbeatAmongEvents(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start(func(r *rig) { r.heartbeat = 200 * time.Millisecond })
		c := r.open("room=a&id=abcdefgh")
		c.event() // io:hello
		begin := time.Now()
		for n := 1; ; n++ {
			if time.Since(begin) > 2*time.Second {
				t.Fatal("no io:ping in 2 s, 10 heartbeats")
			}
			r.emit("a", n, n, 0)
			if c.event().Name == "io:ping" {
				break
			}
		}
	})
}

// A ping that needs an answer goes out at once, even among other news. A client that is not asked cannot answer, and
// would count as gone.
func TestPing(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start()
		c := r.open("room=a&id=abcdefgh")
		s := r.stream(0)
		c.event() // io:hello
		s.ping()
		if e := c.event(); e.Name != "io:ping" {
			t.Fatalf("got %v, want a ping", e)
		}
		for n := 1; n <= 200; n++ {
			r.emit("a", n, n, 0)
			s.ping()
			news, ping := 0, 0
			for news+ping < 2 {
				switch e := c.event(); e.Name {
				case "io:ping":
					ping++
				default:
					news++
				}
			}
			if news != 1 || ping != 1 {
				t.Fatalf("round %d: got %d events and %d pings, want one of each", n, news, ping)
			}
		}
	})
}

// The same holds for a client that was blocked when the ping was requested.
func TestPingOfBlockedReader(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start(tinyBuffer)
		c := r.subscribe("room=a&id=abcdefgh", tiny)
		s := r.stream(0)
		r.emit("a", 1, 100, 1<<10)
		s.ping()
		c.answer(nil)
		for next, pinged := 1, false; next <= 100 || !pinged; {
			switch e := c.event(); e.Name {
			case "io:ping":
				pinged = true
			case "n":
				next++
			}
		}
	})
}

// A comment follows the last event. It pushes the event through a box that holds each piece back until the next one
// comes.
func TestPush(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start(func(r *rig) { r.push = true })
		c := r.open("room=a")
		r.stream(0)
		line := func(want string) {
			t.Helper()
			if got, err := c.Line(); err != nil || !strings.HasPrefix(got, want) || want == "" && got != "" {
				t.Fatalf("got line %q, %v, want %q", got, err, want)
			}
		}
		line("retry: ")
		line(":")
		for round := range 2 {
			r.emit("a", round, round, 0)
			for _, want := range []string{"id: ", "event: n", "data: ", "", ":"} {
				line(want)
			}
		}
	})
}
