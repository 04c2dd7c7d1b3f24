package presence_test

import (
	"slices"
	"testing"
	"time"

	"headcount/internal/presence"
)

// Each change is reported once, as a net change. A user that left and came back is in both lists. A user that came and
// left is in neither.
func TestTakeChanges(t *testing.T) {
	now := time.Unix(1e9, 0)
	table := presence.NewJournaled(0)
	take := func(name string, left, joined []string, anonymous int) {
		t.Helper()
		gotLeft, gotJoined, gotAnonymous := table.TakeChanges("lobby")
		slices.Sort(gotLeft)
		slices.Sort(gotJoined)
		if !slices.Equal(gotLeft, left) || !slices.Equal(gotJoined, joined) || gotAnonymous != anonymous {
			t.Errorf("%s: got %v left, %v joined, %d anonymous, want %v, %v, %d", name, gotLeft, gotJoined, gotAnonymous, left, joined, anonymous)
		}
	}
	open := func(id string) *presence.Ticket { return table.Open("lobby", id, inert{}) }

	a, b := open("client-a"), open("client-b")
	open("client-a")
	anonymous := open("")
	take("two join, one of them twice", nil, []string{"client-a", "client-b"}, 1)
	take("nothing", nil, nil, 1)

	table.Close(a, now)
	table.Close(b, now)
	table.Close(anonymous, now)
	take("one of two streams, all streams, and one without id end", []string{"client-b"}, nil, 0)

	table.Leave("lobby", "client-a")
	open("client-a")
	take("left and back", []string{"client-a"}, []string{"client-a"}, 0)

	open("client-c")
	table.Leave("lobby", "client-c")
	take("came and left", nil, nil, 0)

	table.Renew("lobby", "client-d", now.Add(time.Second))
	table.Expire(now.Add(time.Second))
	take("a lease that has run out", nil, nil, 0)
	table.Renew("lobby", "client-d", now.Add(time.Minute))
	if ids, _ := table.Members("lobby"); len(ids) != 2 {
		t.Errorf("members: got %v, want client-a and client-d", ids)
	}
	take("taken with the members", nil, nil, 0)
	if got := table.Left("lobby", "client-d", now); got != time.Minute {
		t.Errorf("left of a lease: got %v, want 1m", got)
	}
	table.Leave("lobby", "client-a")
	table.Leave("lobby", "client-d")
	take("the last ones", []string{"client-a", "client-d"}, nil, 0)
}

// inert is a stream that ignores its end.
type inert struct{}

func (inert) Left() {}

func (inert) Ticket() *presence.Ticket { return new(presence.Ticket) }
