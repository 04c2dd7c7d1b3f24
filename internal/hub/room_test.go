package hub_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/hub"
)

// A room that was dropped and created again rejects old cursors.
func TestRoomMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{HistoryAge: time.Minute, Idle: time.Minute})
		first := h.Emit("a", "n", []byte("1"))
		last := h.Emit("a", "n", []byte("2"))
		time.Sleep(3 * time.Minute)
		h.Trim(time.Now())
		if h.Rooms() != 0 {
			t.Fatalf("got %d rooms, want none", h.Rooms())
		}
		room := h.Open("a")
		room.Update("user count", set("1"))
		h.Emit("a", "n", []byte("3"))
		join(room, hub.JoinOptions{Cursor: last}).want(t, "who had read all", "user count 1", "n 3")
		join(room, hub.JoinOptions{Cursor: first}).want(t, "who had not", `io:gap {"missed":null}`, "user count 1", "n 3")
		// Events of another room do not confuse it.
		h.Close(room)
		h.Emit("b", "n", []byte("1"))
		time.Sleep(3 * time.Minute)
		h.Trim(time.Now())
		room = h.Open("a")
		h.Emit("a", "n", []byte("4"))
		if got := join(room, hub.JoinOptions{Cursor: last}).events(); len(got) < 2 || got[0] != `io:gap {"missed":null}` {
			t.Errorf("got %v, want a gap: event 3 was missed", got)
		}
	})
}

// A room stays for clients that reconnect, and then leaves nothing behind.
func TestIdleRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{Idle: time.Minute})
		room := h.Open("a")
		h.Open("a")
		h.Close(room)
		time.Sleep(time.Hour)
		h.Trim(time.Now())
		if h.Lookup("a") != room {
			t.Error("a room that is open was dropped")
		}
		h.Close(room)
		time.Sleep(time.Minute - 1)
		h.Trim(time.Now())
		if h.Lookup("a") != room {
			t.Error("a room was dropped too early")
		}
		if h.Open("a") != room {
			t.Error("a room was made anew too early")
		}
		time.Sleep(time.Hour)
		h.Trim(time.Now())
		if h.Lookup("a") != room {
			t.Error("a room that is open again was dropped")
		}
		h.Close(room)
		time.Sleep(time.Minute)
		h.Trim(time.Now())
		if h.Rooms() != 0 {
			t.Error("a room is left that nobody uses")
		}
	})
}

// A room with history stays as long as the history.
func TestIdleRoomWithHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{Idle: time.Minute, HistoryAge: time.Hour})
		cursor := h.Emit("a", "n", []byte("1"))
		h.Emit("a", "n", []byte("2"))
		time.Sleep(time.Hour - 1)
		h.Trim(time.Now())
		join(h.Open("a"), hub.JoinOptions{Cursor: cursor}).want(t, "back after an hour", "n 2")
	})
}

func TestHistoryBounds(t *testing.T) {
	t.Run("number", func(t *testing.T) {
		h := hub.New(hub.Options{History: 5})
		for n := range 100 {
			h.Emit("a", "n", []byte(strconv.Itoa(n)))
			h.Emit("b", "n", []byte(strconv.Itoa(n)))
		}
		if n, _ := h.History(); n != 10 {
			t.Errorf("got %d events in two rooms, want 10", n)
		}
	})
	t.Run("age", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := hub.New(hub.Options{HistoryAge: time.Minute})
			before := h.Emit("a", "n", []byte("1"))
			time.Sleep(30 * time.Second)
			h.Emit("a", "n", []byte("2"))
			time.Sleep(31 * time.Second)
			h.Trim(time.Now())
			if n, _ := h.History(); n != 1 {
				t.Errorf("got %d events, want 1", n)
			}
			start := strings.Replace(before, ".1.", ".0.", 1)
			join(h.Open("a"), hub.JoinOptions{Cursor: start}).want(t, "from the start", `io:gap {"missed":1}`, "n 2")
			time.Sleep(30 * time.Second) // and nothing calls Trim
			join(h.Open("a"), hub.JoinOptions{Cursor: start}).want(t, "later", `io:gap {"missed":2}`)
		})
	})
	t.Run("bytes of all rooms", func(t *testing.T) {
		const limit = 100 << 10
		h := hub.New(hub.Options{HistoryBytes: limit})
		for n := range 1000 {
			h.Emit(fmt.Sprint("room", n%50), "n", []byte(strings.Repeat("x", 1000)))
			if _, size := h.History(); size > limit {
				t.Fatalf("%d bytes are kept, want %d at most", size, limit)
			}
		}
		if n, size := h.History(); size < limit/2 || n < 40 {
			t.Errorf("%d events of %d bytes are kept, want nearly %d", n, size, limit)
		}
	})
}

// Any number of room names takes no lasting memory, with events and without.
func TestManyNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{HistoryAge: time.Minute, Idle: time.Minute, HistoryBytes: 1 << 20})
		for n := range 20_000 {
			name := fmt.Sprint("room", n)
			if n%2 == 0 {
				h.Emit(name, "n", []byte("1"))
			}
			room := h.Open(name)
			room.Update("user count", set("1"))
			room.Update("user count", set("0")) // arms the throttling timer
			h.Close(room)
		}
		time.Sleep(2 * time.Minute)
		h.Trim(time.Now())
		if n, size := h.History(); n != 0 || size != 0 || h.Rooms() != 0 {
			t.Errorf("left are %d rooms, %d events, %d bytes, want nothing", h.Rooms(), n, size)
		}
	})
}

// The history reports as much memory as the process really needs, so the limit on it holds.
func TestHistoryMemory(t *testing.T) {
	const events = 20_000
	data := []byte(`"hello"`)
	for name, rooms := range map[string]int{"one room": 1, "a room each": events} {
		t.Run(name, func(t *testing.T) {
			h := hub.New(hub.Options{History: events})
			before := heap()
			for n := range events {
				h.Emit(fmt.Sprint("a room of some name ", n%rooms), "news", data)
			}
			needed := heap() - before
			_, said := h.History()
			t.Logf("an event needs %d bytes, said are %d", needed/events, said/events)
			if r := float64(said) / float64(needed); r < 0.75 || r > 1.5 {
				t.Errorf("said to need %d bytes, needs %d", said, needed)
			}
		})
	}
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
