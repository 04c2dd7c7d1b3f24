//go:build linux

package wire_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"headcount/internal/wire"
)

// A client that reads again after the history has overtaken it gets the number of events it missed, then the current
// states, then what is kept.
func TestHistoryOvertakesBlockedReader(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		const kept, events = 20, 800
		r := start(tinyBuffer, history(kept))
		c := r.subscribe("room=a", tiny)
		r.stream(0)
		r.count("a", 1)
		healthy := r.open("room=a")
		r.stream(1)
		if got := healthy.number("user count"); got != 1 {
			t.Fatalf("got first count %d, want 1", got)
		}
		for n := 1; n <= events; n++ {
			r.emit("a", n, n, 1<<10)
			if n == events/2 {
				r.count("a", 7)
			}
			if got := healthy.event(); got.Name == "n" && strings.TrimSpace(got.Data) != strconv.Itoa(n) {
				t.Fatalf("the healthy reader got %.10q, want %d", got.Data, n)
			} else if got.Name == "user count" {
				healthy.wantNumbers(n, n)
			}
		}
		c.answer(nil)
		next, count, gaps := 1, 0, 0
		for next <= events || count != 7 {
			switch e := c.event(); e.Name {
			case "n":
				if got := strings.TrimSpace(e.Data); got != strconv.Itoa(next) {
					t.Fatalf("got event %s, want %d", got, next)
				}
				next++
			case "user count":
				n, err := strconv.Atoi(e.Data)
				if err != nil || n <= count {
					t.Fatalf("got count %s after %d", e.Data, count)
				}
				count = n
			case "io:gap":
				gaps++
				var missed int
				if _, err := fmt.Sscanf(e.Data, `{"missed":%d}`, &missed); err != nil || missed < 1 {
					t.Fatalf("got gap %s: %v", e.Data, err)
				}
				next += missed
				// The states are those of the time when the gap was noticed.
				count = c.number("user count")
			}
		}
		if gaps == 0 {
			t.Error("the reader was not overtaken: the test proves nothing")
		}
		if next != events+1 {
			t.Errorf("the next event would be %d, want %d", next, events+1)
		}
	})
}

// A client that joins with a cursor gets what it missed through the writer, once and in order.
func TestResume(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start()
		c := r.open("room=a")
		r.stream(0)
		r.emit("a", 1, 10, 0)
		c.wantNumbers(1, 4)
		cursor := c.event().ID
		_ = c.conn.Close()
		r.stream(0).wantEnd(t, wire.Gone)
		r.emit("a", 11, 2000, 100) // more than one batch and more than the default history
		c = r.open("room=a&cursor=" + cursor)
		gap := c.event()
		if want := `{"missed":995}`; gap.Name != "io:gap" || gap.Data != want {
			t.Fatalf("got %v, want a gap of %s", gap, want)
		}
		c.wantNumbers(1001, 2000)
		r.emit("a", 2001, 2001, 0)
		c.wantNumbers(2001, 2001)
	})
}

// When the sequence of the events starts anew, every client gets one gap.
func TestSequenceBeginsAnew(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start()
		var all []*reader
		for i := range 30 {
			all = append(all, r.open("room=a&id=abcdefgh"))
			r.stream(i)
			all[i].event() // io:hello
		}
		r.count("a", 1)
		r.emit("a", 1, 2, 0)
		for _, c := range all {
			if got := c.number("user count"); got != 1 {
				t.Fatalf("got count %d, want 1", got)
			}
			c.wantNumbers(1, 2)
		}
		r.hub.Reset("anew", 0)
		for _, c := range all {
			if e := c.event(); e.Name != "io:gap" || e.Data != `{"missed":null}` {
				t.Fatalf("got %v, want a gap", e)
			}
			if got := c.number("user count"); got != 1 {
				t.Fatalf("got count %d behind the gap, want 1", got)
			}
		}
		for n := 1; n <= 3; n++ {
			r.emit("a", n, n, 0)
			for i, c := range all {
				if e := c.event(); e.Name != "n" || e.Data != strconv.Itoa(n) {
					t.Fatalf("reader %d: got %v, want event %d", i, e, n)
				}
			}
		}
		for i, c := range all { // one by one
			r.stream(i).ping()
			if e := c.event(); e.Name != "io:ping" {
				t.Fatalf("reader %d: got %v, want a ping", i, e)
			}
		}
	})
}
