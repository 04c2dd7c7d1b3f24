package hub_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/hub"
)

// The next hub knows which rooms the first one dropped. A room that is created again does not accept the cursors of the
// earlier one.
func TestImportForgottenRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := hub.New(hub.Options{HistoryAge: time.Second})
		first.Emit("a", "n", []byte("1"))
		old := first.Emit("a", "n", []byte("2"))
		time.Sleep(2 * time.Minute)
		first.Trim(time.Now())
		first.Trim(time.Now())
		if n := first.Rooms(); n != 0 {
			t.Fatalf("got %d rooms, want none", n)
		}
		next := hub.New(hub.Options{})
		next.Import(first.Export())
		next.Emit("a", "n", []byte("3"))
		join(next.Open("a"), hub.JoinOptions{Cursor: old}).want(t, "at the last event", "n 3")

		again := hub.New(hub.Options{})
		again.Import(next.Export())
		before := strings.Replace(old, ".2.", ".1.", 1)
		join(again.Open("a"), hub.JoinOptions{Cursor: before}).want(t, "in the room before", `io:gap {"missed":null}`, "n 3")
	})
}

// The next hub bounds the history as if it were its own. It keeps no more than the limit, and the oldest event of all
// rooms is dropped first.
func TestImportHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := hub.New(hub.Options{})
		ids := make(map[string]string)
		for i := range 4 {
			for _, room := range []string{"a", "b"} {
				ids[fmt.Sprint(room, i)] = first.Emit(room, "n", []byte(fmt.Sprint(i)))
				time.Sleep(time.Second)
			}
		}
		next := hub.New(hub.Options{History: 2})
		next.Import(first.Export())
		if n, bytes := next.History(); n != 4 || bytes != halfOf(first) {
			t.Errorf("got %d events with %d bytes, want 4 with %d", n, bytes, halfOf(first))
		}
		r := next.Open("a")
		join(r, hub.JoinOptions{Cursor: ids["a0"]}).want(t, "what is kept", `io:gap {"missed":1}`, "n 2", "n 3")
		next.Trim(time.Now().Add(10*time.Minute - 2500*time.Millisecond)) // one event of each room is too old then
		join(r, hub.JoinOptions{Cursor: "x.1.y.0"}).want(t, "what is not too old", `io:gap {"missed":null}`, "n 3")
		if n, _ := next.History(); n != 2 {
			t.Errorf("got %d events, want 2", n)
		}
	})
}

// halfOf returns the memory of half of the events of h, in as many rooms.
func halfOf(h *hub.Hub) int64 {
	_, bytes := h.History()
	const rooms = 2 * 500
	return (bytes-rooms)/2 + rooms
}

// Where the events come from a source, they are loaded from there, and the subscribers continue where they were.
func TestImportWithSource(t *testing.T) {
	first, next := shared(&source{}, 100), shared(&source{}, 108)
	old := first.Open("lobby")
	old.Load(0, 100, []hub.Event{event(90, "a")})
	old.Update("user count", set("1"))
	readers := map[string]*client{"at 90": join(old, cursor(90)), "half": join(old, hub.JoinOptions{})}
	for _, c := range readers {
		c.read()
	}
	old.Deliver(105, event(105, "b"))
	readers["at 90"].read()
	readers["half"].sub.Pending(&readers["half"].batch)
	readers["half"].take(10)

	next.Import(first.Export())
	room := next.Open("lobby")
	for _, c := range readers {
		c.sub = room.Resume(c.sub.Export())
		c.read()
	}
	next.Reset("epoch", 108) // the node joins the cluster only now
	room.Update("user count", set("2"))
	for _, c := range readers {
		c.read()
	}
	room.Load(0, 108, []hub.Event{event(90, "a"), event(105, "b"), event(107, "c")})
	readers["at 90"].want(t, "all have come once", "user count 1", "b 1", "user count 2", "c 1")
	readers["half"].want(t, "half an event was there", "user count 1", "b 1", "user count 2", "c 1")
}

// A subscriber that had still to get a gap gets it from the next process.
func TestImportOfLostReader(t *testing.T) {
	first, next := shared(&source{}, 100), hub.New(hub.Options{Source: &source{}, Node: "here"})
	reader := join(first.Open("lobby"), hub.JoinOptions{})
	reader.read()
	first.Reset("another", 3)
	next.Import(first.Export())
	reader.sub = next.Open("lobby").Resume(reader.sub.Export())
	reader.want(t, "at once", `io:gap {"missed":null}`)
}
