package presence_test

import (
	"slices"
	"testing"
	"time"

	"headcount/internal/presence"
)

// mover is a stream that knows whether it was told to end.
type mover struct{ left bool }

func (m *mover) Left() { m.left = true }

func TestDrop(t *testing.T) {
	table := presence.New(time.Second)
	var m mover
	k := table.Open("lobby", "client-0001", &m)
	table.Open("lobby", "", &mover{})
	counted, left := table.Drop("lobby", "client-0001")
	if !counted || len(left) != 1 || left[0] != presence.Stream(&m) || m.left {
		t.Errorf("got %v %v, want it counted and its stream, which the caller ends", counted, left)
	}
	if got := table.Count("lobby"); got != 1 {
		t.Errorf("count: got %d, want 1", got)
	}
	if counted, left := table.Drop("lobby", "client-0001"); counted || left != nil {
		t.Errorf("second time: got %v %v, want nothing", counted, left)
	}
	table.Close(k, time.Now()) // does not linger: it is elsewhere
	if got := table.Count("lobby"); got != 1 || table.Knows("lobby", "client-0001") {
		t.Errorf("count after its stream closed: got %d, want 1", got)
	}
}

func TestYield(t *testing.T) {
	now := time.Now()
	table := presence.New(time.Second)
	want := func(what string, count int, has bool) {
		t.Helper()
		if got := table.Count("lobby"); got != count {
			t.Errorf("%s: count: got %d, want %d", what, got, count)
		}
		if got := table.Has("lobby", "client-0001"); got != has {
			t.Errorf("%s: has: got %v, want %v", what, got, has)
		}
		if rooms := table.Rooms(); rooms[0].Users != count {
			t.Errorf("%s: rooms: got %v, want %d", what, rooms, count)
		}
		if got := slices.Contains(table.Named("lobby"), "client-0001"); got != has {
			t.Errorf("%s: named: got %v, want %v", what, table.Named("lobby"), has)
		}
	}
	table.Open("lobby", "", &mover{})
	var m mover
	k := table.Open("lobby", "client-0001", &m)
	if counted, open := table.Yield("lobby", "client-0001"); !counted || !open || m.left {
		t.Errorf("got %v %v, want it counted, and its stream stays", counted, open)
	}
	want("yielded", 1, false)
	if counted, open := table.Yield("lobby", "client-0001"); counted || !open {
		t.Errorf("second time: got %v %v, want it not counted any more", counted, open)
	}
	if !table.Take("lobby", "client-0001") || table.Take("lobby", "client-0001") {
		t.Error("take: want it once")
	}
	want("taken back", 2, true)
	table.Yield("lobby", "client-0001")
	second := table.Open("lobby", "client-0001", &mover{})
	want("another stream", 2, true)
	table.Close(second, now)
	table.Yield("lobby", "client-0001")
	table.Close(k, now)
	want("its stream closed", 1, false)
	if table.Knows("lobby", "client-0001") {
		t.Error("it lingers here, and is elsewhere")
	}

	// Who is only here by a lease, or lingers, goes.
	table.Renew("lobby", "client-0001", now.Add(time.Minute))
	if got, want := table.Until("lobby", "client-0001"), now.Add(time.Minute); !got.Equal(want) || !table.Until("lobby", "client-0002").IsZero() {
		t.Errorf("until: got %v, want %v, and nothing for who is not here", got, want)
	}
	want("a lease", 2, true)
	if counted, open := table.Yield("lobby", "client-0001"); !counted || open {
		t.Errorf("a lease: got %v %v, want it counted and no stream", counted, open)
	}
	want("a lease yielded", 1, false)
	if counted, open := table.Yield("other", "client-0001"); counted || open {
		t.Errorf("an unknown room: got %v %v, want nothing", counted, open)
	}
}
