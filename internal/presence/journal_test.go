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
	table.Leave("lobby", "client-a")
	table.Leave("lobby", "client-d")
	take("the last ones", []string{"client-a", "client-d"}, nil, 0)
}

// How long a user stays if its streams end, and their clients get 13 s more to reconnect.
func TestLeft(t *testing.T) {
	const longer = 13 * time.Second
	now := time.Now()
	for _, row := range []struct {
		name string
		do   func(table *presence.Table)
		want time.Duration
	}{
		{"nobody", func(*presence.Table) {}, 0},
		{"a stream", func(table *presence.Table) { table.Open("lobby", "client-a", inert{}) }, longer},
		{"a stream that has ended", func(table *presence.Table) { table.Close(table.Open("lobby", "client-a", inert{}), now) }, 2 * time.Second},
		{"a stream after one that has ended", func(table *presence.Table) {
			table.Close(table.Open("lobby", "client-a", inert{}), now)
			table.Open("lobby", "client-a", inert{})
		}, longer},
		{"a stream through a proxy, whose lease ends soon", func(table *presence.Table) {
			table.Lease(table.Open("lobby", "client-a", inert{}), now.Add(time.Second))
		}, longer},
		{"a lease", func(table *presence.Table) { table.Renew("lobby", "client-a", now.Add(time.Minute)) }, time.Minute},
		{"a lease that has run out", func(table *presence.Table) { table.Renew("lobby", "client-a", now.Add(-time.Second)) }, 0},
		{"a goodbye with a grace period", func(table *presence.Table) {
			table.Open("lobby", "client-a", inert{})
			table.LeaveBy("lobby", "client-a", now.Add(time.Second))
		}, time.Second},
	} {
		table := presence.NewJournaled(2 * time.Second)
		row.do(table)
		if got := table.Left("lobby", "client-a", now, longer); got.Round(time.Millisecond) != row.want {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
}

// inert is a stream that ignores its end.
type inert struct{}

func (inert) Left() {}

func (inert) Ticket() *presence.Ticket { return new(presence.Ticket) }
