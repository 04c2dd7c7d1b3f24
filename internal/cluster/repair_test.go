package cluster

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/cluster/union"
	"headcount/internal/hub"
)

// An event that was skipped, because another node did not know it when it reported the room's position, leads to an
// io:gap.
func TestPassedOver(t *testing.T) {
	n, reader := newAlone(t)
	f := &n.room("lobby").feed
	// The room is up to date until 6, and its last event is 3. Then a message says that 5 was before it.
	f.link = 3
	f.onLive(live{Event: hub.Event{Seq: 8, Name: "news", Data: []byte("8")}, before: 5})
	f.onLive(live{Event: hub.Event{Seq: 9, Name: "news", Data: []byte("9")}, before: 8})
	var b hub.Batch
	reader.Pending(&b)
	got := string(slices.Concat(b.Bytes...))
	gap, event := strings.Index(got, "event: io:gap"), strings.Index(got, "event: news")
	if gap < 0 || event < gap || strings.Count(got, "io:gap") != 1 {
		t.Errorf("got %q, want one io:gap and then the news", got)
	}
}

// Each server of an old NATS has its own sequence. Newer servers, and a single server, agree.
func TestEpoch(t *testing.T) {
	n, _ := newAlone(t)
	info := func(leader string, replicas int) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{
			Created: time.Unix(1_700_000_000, 0), Config: jetstream.StreamConfig{Replicas: replicas}, Cluster: &jetstream.ClusterInfo{Leader: leader},
		}
	}
	for _, row := range []struct {
		version  string
		unsound  bool
		replicas int
		same     bool
	}{
		{"2.9.10", true, 3, false}, {"2.10.29", true, 3, false}, {"2.9.10", true, 1, true}, {"2.11.0", false, 3, true},
		{"2.14.0-preview.1", false, 3, true}, {"3.0.0", false, 3, true}, {"of a fork", false, 3, true},
	} {
		if got := isUnsound(row.version); got != row.unsound {
			t.Errorf("%s is unsound: got %v, want %v", row.version, got, row.unsound)
		}
		n.unsound.Store(row.unsound)
		a, b := n.epochOf(info("nats-0", row.replicas)), n.epochOf(info("nats-1", row.replicas))
		if (a == b) != row.same {
			t.Errorf("%s with %d replicas: got epochs %q and %q of two leaders, want the same: %v", row.version, row.replicas, a, b, row.same)
		}
	}
}

// Without NATS nobody waits for a room, because it cannot be loaded. The node keeps trying to reach NATS.
func TestAlone(t *testing.T) {
	n, _ := newAlone(t)
	begin := time.Now()
	if n.room("lobby").wait(t.Context()); time.Since(begin) >= longest {
		t.Errorf("a reader waited for %v, want no time", time.Since(begin))
	}
	if got := n.nc.Opts.MaxReconnect; got >= 0 {
		t.Errorf("NATS is given up after %d attempts, want never", got)
	}
}

// The engine hears of each room whose count another node has changed, also if a reader asks for the count of one of them
// at that moment.
func TestChangeIsReported(t *testing.T) {
	n, _ := newAlone(t)
	n.hub.Open("other")
	state := union.State{Instance: 1, Seq: 1, Size: 1, Xor: 7}
	send := func(messages ...union.Message) {
		for _, m := range messages {
			n.onSets(&nats.Msg{Data: union.Append(nil, m)})
		}
	}
	reported := func() (rooms []string) {
		for _, c := range n.changes.take() {
			rooms = append(rooms, c.Room)
		}
		slices.Sort(rooms)
		return rooms
	}
	for _, name := range []string{"lobby", "other"} {
		send(union.Set{Node: "beefbeef", Room: token(name), State: state, Parts: 1, Users: []uint64{7}})
	}
	n.apply(func(m *union.Machine, now time.Time) union.Effects { return m.Tick(now.Add(6 * time.Second)) })
	if got := n.Changed("lobby"); got != 2 {
		t.Fatalf("the other node is silent: got %d users, want 2", got)
	}
	reported()
	for _, name := range []string{"lobby", "other"} {
		send(union.Digest{Node: "beefbeef", Sets: []union.RoomState{{Room: token(name), State: state}}})
	}
	if got := n.Changed("lobby"); got != 3 {
		t.Errorf("the other node is heard again: got %d users, want 3", got)
	}
	if got := reported(); !slices.Equal(got, []string{"lobby", "other"}) {
		t.Errorf("after the question: got changes of %q, want lobby and other", got)
	}
}

// What arrived before messages were lost tells nothing about them.
func TestRejoin(t *testing.T) {
	n, _ := newAlone(t)
	set := union.State{Instance: 1, Seq: 1, Size: 1, Xor: 7}
	n.onSets(&nats.Msg{Data: union.Append(nil, union.Set{Node: "beefbeef", Room: token("lobby"), State: set, Parts: 1, Users: []uint64{7}})})
	n.inbox <- &nats.Msg{Data: union.Append(nil, union.Digest{Node: "beefbeef", Sets: []union.RoomState{{Room: token("lobby"), State: set}}})}
	lag := func() (sets int) {
		for _, one := range n.Nodes() {
			sets += one.Lag
		}
		return sets
	}
	if got := lag(); got != 0 {
		t.Fatalf("before: got %d sets that may be incomplete, want 0", got)
	}
	n.rejoin()
	if got := lag(); got != 1 {
		t.Errorf("after: got %d sets that may be incomplete, want 1", got)
	}
}

// A message with the most users for each of them fits into a payload, also after other messages.
func TestChunk(t *testing.T) {
	for _, most := range []int64{4 << 10, 64 << 10, 1 << 20, 8 << 20} {
		users := make([]uint64, chunk(most))
		k := union.Kept{Node: "beefbeef", Room: token("lobby"), Back: users, Users: users, Millis: slices.Repeat([]uint32{math.MaxUint32}, len(users))}
		if got := len(union.Append(nil, k)) + together(most); len(users) == 0 || got > int(most) {
			t.Errorf("%d bytes for %d users, want %d at most", got, len(users), most)
		}
	}
}

// While NATS takes nothing, a limited number of messages wait for it. The subscriptions among them stay.
func TestFullQueue(t *testing.T) {
	n, _ := newAlone(t)
	n.hub.Open("other")
	for range maxQueue + 10 {
		n.apply(func(*union.Machine, time.Time) union.Effects {
			return union.Effects{Send: []union.Outgoing{{Message: union.Closed{}}}}
		})
	}
	jobs := n.sets.jobs.take()
	if len(jobs) > maxQueue {
		t.Errorf("got %d jobs, want at most %d", len(jobs), maxQueue)
	}
	subscriptions := slices.DeleteFunc(jobs, func(j job) bool { return j.do == nil })
	if len(subscriptions) != 2 {
		t.Errorf("got %d subscriptions, want those of both rooms", len(subscriptions))
	}
	n.apply(func(*union.Machine, time.Time) union.Effects {
		return union.Effects{Send: make([]union.Outgoing, maxQueue+10)}
	})
	if got := len(n.sets.jobs.take()); got != maxQueue+10 {
		t.Errorf("the messages of one call: got %d, want %d", got, maxQueue+10)
	}
}

// What prune has to leave is not looked at again and again.
func TestPrune(t *testing.T) {
	q, odd := newQueue[int](), func(i int) bool { return i%2 == 1 }
	for _, row := range []struct {
		add    []int
		pruned bool
		left   int
	}{{[]int{0, 0, 0, 0}, false, 4}, {[]int{1, 1, 1}, false, 7}, {[]int{1}, true, 4}, {[]int{1, 1, 1}, false, 7}} {
		q.add(row.add...)
		if pruned := q.prune(4, odd); pruned != row.pruned || len(q.list) != row.left {
			t.Errorf("after %v: got pruned %v and %d elements, want %v and %d", row.add, pruned, len(q.list), row.pruned, row.left)
		}
	}
	q.take()
	q.add(1, 1, 1, 1)
	if !q.prune(4, odd) {
		t.Error("after take: nothing was pruned")
	}
}

// A room that is closed while the key changes stays closed.
func TestClosedWhileKeyChanges(t *testing.T) {
	n, _ := newAlone(t)
	r := n.room("lobby")
	n.Unwatch(r.feed.hub)
	n.openSet(r)
	if _, open := n.sets.machine.Count(r.token); open {
		t.Error("the set of the closed room is open")
	}
}

// The changes of a room that is not open are not recorded for ever.
func TestChangesOfClosedRoom(t *testing.T) {
	n, _ := newAlone(t)
	n.users.Renew("closed", "client-a", time.Now().Add(time.Minute))
	if got := n.Changed("closed"); got != 1 {
		t.Errorf("got %d users, want 1", got)
	}
	if left, joined, _ := n.users.TakeChanges("closed"); len(left)+len(joined) > 0 {
		t.Errorf("got changes %v and %v, want none", left, joined)
	}
}
