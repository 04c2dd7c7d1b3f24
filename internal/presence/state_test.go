package presence_test

import (
	"slices"
	"testing"
	"time"

	"headcount/internal/presence"
)

// Streams that are not handed over, as all of them at a stop and start, get a grace period for their clients.
func TestStreamsLeftBehind(t *testing.T) {
	const linger, grace = 2 * time.Second, 7 * time.Second
	now := time.Unix(1e9, 0)
	old := presence.New(linger)
	for _, id := range []string{"", "", "", "comes back", "stays away"} {
		old.Open("a", id, stream{})
	}
	leased := old.Open("a", "leased", stream{})
	old.Lease(leased, now.Add(time.Minute))
	old.Renew("a", "by lease alone", now.Add(30*time.Second))
	old.Close(old.Open("a", "has just gone", stream{}), now)
	state := old.Export(now)

	now = now.Add(1000 * time.Hour)
	table := presence.New(linger)
	table.Import(state, now, grace)
	count := func(what string, want int, changed ...string) {
		t.Helper()
		if got := table.Expire(now); !slices.Equal(got, changed) {
			t.Errorf("%s: expiry changed %q, want %q", what, got, changed)
		}
		if got := table.Count("a"); got != want {
			t.Errorf("%s: got %d users, want %d", what, got, want)
		}
	}
	count("at first", 8)
	back := table.Open("a", "comes back", stream{})
	count("one with an id is back", 8)
	first := table.OpenAgain("a", stream{})
	table.OpenAgain("a", stream{})
	count("two without an id are back", 8)
	table.Open("a", "", stream{})
	count("a new one", 9)
	now = now.Add(linger)
	count("who had gone before has gone", 8, "a")
	now = now.Add(grace)
	count("the third and who stays away are given up", 6, "a")
	table.OpenAgain("a", stream{})
	count("a later user is new", 7)
	now = now.Add(time.Minute)
	count("without leases", 5, "a")
	table.Close(first, now)
	table.Close(back, now)
	now = now.Add(linger)
	count("the others close as ever", 3, "a")
}

// A place without a client id keeps its room, and the room goes with it.
func TestPlacesAlone(t *testing.T) {
	now := time.Unix(1e9, 0)
	old, table := presence.New(0), presence.New(0)
	old.Open("a", "", stream{})
	table.Import(old.Export(now), now, time.Second)
	if next, ok := table.Next(); !ok || !next.Equal(now.Add(time.Second)) || table.Users() != 1 {
		t.Errorf("got next %v, %v and %d users, want in a second, and 1", next, ok, table.Users())
	}
	again := presence.New(0)
	again.Import(table.Export(now), now, time.Second)
	if got := again.Users(); got != 1 {
		t.Errorf("one restart later: got %d users, want 1", got)
	}
	table.Expire(now.Add(time.Second))
	if next, ok := table.Next(); ok || len(table.Rooms()) > 0 {
		t.Errorf("in the end: got next %v and rooms %v, want none", next, table.Rooms())
	}
}
