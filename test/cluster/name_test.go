package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"headcount/test/rig"
)

// A node of which nothing was heard for 2 s is not waited for, but its users are counted until it is taken for dead. If it
// speaks up after that, it is told so, and not believed until it has another name.
func TestNames(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 0, t.TempDir()).URL
	n := startNode(t, url).ready(t)
	other := play(t, url, "actoraaa")
	watcher := read(t, n.URL, "lobby", "client-watch")
	both := read(t, n.URL, "lobby", "client-both")
	watcher.await(t, 2)
	other.says("1", entry{Users: 3, Joined: []string{"client-both"}})
	other.reply(func(q ask) *answer { return &answer{IDs: q.Has} })
	watcher.await(t, 4)

	// It has come back under a new name before anybody took it for dead: what it said and took is void.
	other.rename("actoraaa-1")
	rig.Wait(t, 3*time.Second, "what it said under its old name is void", func() bool { return watcher.count() == 2 })
	other.says("1", entry{Users: 2})
	watcher.await(t, 4)

	cursor := other.cursor(mustEmit(t, n.URL, "lobby", "n", "1").ID)
	other.reply(nil)
	other.rename("")
	rig.Wait(t, 5*time.Second, "the other node is silent", func() bool { return n.silent(t, "actoraaa-1") > 2 })
	newReaderFrom(t, []string{n.URL}, "lobby", "client-moves", cursor)
	other.awaitSaid(n, "who comes from the silent node is one of its users", func(e entry) bool { return e.In["actoraaa-1-1"] == 1 })
	watcher.await(t, 3) // it is dead
	if asks := other.asksFor("client-moves"); len(asks) > 0 {
		t.Errorf("a silent node was asked: %+v", asks)
	}
	other.rename("actoraaa-1")
	told := func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		return slices.ContainsFunc(other.asks, func(q ask) bool { return q.Dead == "actoraaa-1" })
	}
	rig.Wait(t, 5*time.Second, "it is told that it is dead", told)
	watcher.forget()
	other.says("1", entry{Users: 7, Joined: []string{"client-both"}})
	other.rename("")
	other.says("1", entry{ID: "actoraaa-2", Users: 1, Joined: []string{"client-both"}}) // which is heard before its sign of life
	watcher.await(t, 2)
	other.rename("actoraaa-2")
	watcher.await(t, 3)
	if got := watcher.seen(); !slices.Equal(got, []int{3, 2, 3}) {
		t.Errorf("counts: got %v, want 3, 2 and 3 only", got)
	}
	if both.opens() != 1 {
		t.Errorf("the stream of one who was counted elsewhere was opened %d times, want once", both.opens())
	}
}

// silent is how many seconds ago a node was last heard of, as this one sees it; -1 if it is not alive.
func (n *node) silent(t *testing.T, name string) float64 {
	t.Helper()
	for _, one := range n.stats(t).Nodes {
		if one.Node == name {
			return one.Age
		}
	}
	return -1
}

// A node that starts takes another one for alive that was heard of a moment ago, and for dead when all others do. So also
// where NATS does not say what time it is, as Debian's.
func TestYoungNode(t *testing.T) {
	t.Parallel()
	url := startNATSOf(t, debianNATS(t), 0, t.TempDir()).URL
	_, js := jetStream(t, url)
	// So that signs of life are kept for longer than they are worth.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "KV_headcount_nodes", Subjects: []string{"$KV.headcount_nodes.>"}, MaxAge: time.Minute, MaxMsgsPerSubject: 1, Storage: jetstream.MemoryStorage,
	}); err != nil {
		t.Fatal(err)
	}
	old := startNode(t, url).ready(t)
	dies := play(t, url, "actoraaa")
	rig.Wait(t, 5*time.Second, "the other node is there", func() bool { return old.silent(t, "actoraaa-0") >= 0 })
	dies.says("1", entry{Users: 3})
	dies.rename("")
	begin := time.Now()
	rig.Wait(t, 5*time.Second, "it is silent", func() bool { return old.silent(t, "actoraaa-0") > 3 })
	young := startNode(t, url).ready(t)
	if young.silent(t, "actoraaa-0") < 0 && old.silent(t, "actoraaa-0") >= 0 {
		t.Error("a node that starts does not know one that is alive")
	}
	for _, n := range []*node{old, young} {
		rig.Wait(t, 10*time.Second, "it is dead", func() bool { return n.silent(t, "actoraaa-0") < 0 })
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("a dead node was taken for alive for %v, want at most 6s", took)
		}
	}
	last := startNode(t, url).ready(t)
	if got := last.silent(t, "actoraaa-0"); got >= 0 {
		t.Errorf("a node that starts takes a dead one for alive, and heard of %v s ago", got)
	}
	if got := count(last.URL, "lobby"); got != 0 {
		t.Errorf("/count of a room that is not open: got %d, want 0 since the node is dead", got)
	}
}
