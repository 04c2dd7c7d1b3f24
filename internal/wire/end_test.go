//go:build linux

package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/internal/wire"
)

// End delivers what is pending, sends the retry time, and ends the response cleanly.
func TestEnd(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start()
		c := r.open("room=a")
		s := r.stream(0)
		r.emit("a", 1, 50, 0)
		s.end(2345 * time.Millisecond)
		s.end(9 * time.Second) // has no effect
		c.wantNumbers(1, 50)
		c.wantFarewell("2345")
		s.wantEnd(t, wire.Ended)
		s.end(time.Second)
	})
}

// A blocked client gets some more of what it has missed, then a clean end, and the rest when it reconnects.
func TestEndOfBlockedReader(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		const events = 3000
		r := start(tinyBuffer, history(events))
		c := r.subscribe("room=a", tiny)
		s := r.stream(0)
		r.emit("a", 1, events, 1<<10)
		s.end(2 * time.Second)
		c.answer(nil)
		got, cursor := 0, ""
		for {
			b, err := c.Block()
			if err == io.EOF && b.Retry == "2000" {
				break
			}
			if err != nil {
				t.Fatalf("the stream ended without a farewell: %+v, %v", b, err)
			}
			if b.Dispatched {
				got, cursor = got+1, b.ID
				if n := strings.TrimSpace(b.Data); n != strconv.Itoa(got) {
					t.Fatalf("got event %s, want %d", n, got)
				}
			}
		}
		if _, err := c.Block(); err != io.EOF {
			t.Errorf("got %v behind the farewell, want a clean end", err)
		}
		s.wantEnd(t, wire.Ended)
		if got == 0 || got == events {
			t.Fatalf("got %d events of %d: the test proves nothing", got, events)
		}
		r.open("room=a&cursor="+cursor).wantNumbers(got+1, events)
	})
}

// The end is clean no matter where the socket's buffer becomes full, in the events, in the farewell or exactly between
// them.
func TestEndAtFullBuffer(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		const sizes = 120
		r := start(tinyBuffer)
		var all []*reader
		for i := range sizes {
			room := fmt.Sprint("room", i)
			all = append(all, r.subscribe("room="+room, tiny))
			s := r.stream(i)
			r.emit(room, 1, 1, 50*i)
			s.end(time.Second)
		}
		for i, c := range all {
			c.answer(nil)
			c.wantNumbers(1, 1)
			c.wantFarewell("1000")
			r.stream(i).wantEnd(t, wire.Ended)
		}
	})
}

// A busy room does not keep a stream from ending.
func TestEndInBusyRoom(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start(history(50))
		c := r.subscribe("room=a", 0)
		s := r.stream(0)
		ctx, stop := context.WithCancel(t.Context())
		var emits sync.WaitGroup
		emits.Go(func() {
			for n := 1; ctx.Err() == nil; n++ {
				r.emit("a", n, n, 2000)
			}
		})
		defer emits.Wait()
		defer stop()
		c.answer(nil)
		for range 100 {
			c.event()
		}
		s.end(time.Second)
		for {
			b, err := c.Block()
			if err == io.EOF && b.Retry == "1000" {
				break
			}
			if err != nil {
				t.Fatalf("the stream ended without a farewell: %+v, %v", b, err)
			}
		}
		if _, err := c.Block(); err != io.EOF {
			t.Errorf("got %v behind the farewell, want a clean end", err)
		}
		s.wantEnd(t, wire.Ended)
	})
}

// The server can shut down after every stream has ended.
func TestShutdown(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start()
		var all []*reader
		for i := range 50 {
			all = append(all, r.open("room=a&id=abcdefgh"))
			r.stream(i)
		}
		r.count("a", 50)
		for i := range all {
			r.stream(i).end(time.Second)
		}
		for i, c := range all {
			for c.event().Data != "50" {
			}
			c.wantFarewell("1000")
			r.stream(i).wantEnd(t, wire.Ended)
			_ = c.conn.Close()
		}
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		defer cancel()
		if err := r.server.Shutdown(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
	})
}

// Close of the writer or of the server cuts open streams. Clients see the end.
func TestCut(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start()
		c := r.open("room=a")
		r.stream(0)
		r.cut()
		if _, err := c.Next(); !errors.Is(err, io.ErrUnexpectedEOF) && !isReset(err) {
			t.Errorf("got %v, want an end that is no clean one", err)
		}
	})
}
