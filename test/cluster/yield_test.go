package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// A user with streams on two nodes is counted where it joined last. The other node keeps its stream, asks whether it is still
// counted there, and counts it again when it is not.
func TestYieldedUser(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 0, t.TempDir()).URL
	n := startNode(t, url).ready(t)
	other := play(t, url, "actoraaa")
	here := func() int { return n.engine.Users().Count("lobby") }
	read(t, n.URL, "lobby", "client-watch")
	both, leaves := read(t, n.URL, "lobby", "client-both"), read(t, n.URL, "lobby", "client-leaves")
	other.reply(func(q ask) *answer { return &answer{IDs: q.Has} })
	other.says("1", entry{Users: 2, Joined: []string{"client-both", "client-leaves"}})
	rig.Wait(t, 5*time.Second, "two users are counted on the other node", func() bool { return here() == 1 })
	asked := func(id string) (times int) {
		other.mu.Lock()
		defer other.mu.Unlock()
		for _, q := range other.asks {
			if slices.Contains(q.Has, id) {
				times++
			}
		}
		return times
	}
	rig.Wait(t, 5*time.Second, "it is asked for both", func() bool { return asked("client-both") > 0 && asked("client-leaves") > 0 })
	leaves.stop()
	rig.Wait(t, 5*time.Second, "the stream has ended", func() bool { return n.engine.Streams() == 2 })
	once := asked("client-leaves")
	before := asked("client-both")
	rig.Wait(t, 5*time.Second, "it is asked again", func() bool { return asked("client-both") > before+1 })
	if got := asked("client-leaves"); got > once+1 { // one may have been on its way
		t.Errorf("one whose stream has ended was asked for %d times more", got-once)
	}
	if here() != 1 {
		t.Errorf("got %d users, want 1 while the other node counts the other", here())
	}
	other.reply(func(ask) *answer { return &answer{} })
	other.says("1", entry{})
	rig.Wait(t, 5*time.Second, "the user is counted here again", func() bool { return here() == 2 && count(n.URL, "lobby") == 2 })
	if both.opens() != 1 {
		t.Errorf("its stream was opened %d times, want once", both.opens())
	}
}

// However many join at once, the others are told of all who are still there, in messages that NATS takes; and again when messages may have been
// lost, because NATS was away.
func TestManyJoin(t *testing.T) {
	dir := t.TempDir()
	s := startNATS(t, 0, dir)
	n, other := startBeside(t, s.URL, "actoraaa")
	const users = 4500
	for i := range users {
		id := fmt.Sprintf("client-%04d", i)
		if err := n.cluster.Arrive(t.Context(), "lobby", id, "", func() { n.engine.Users().Open("lobby", id, nobody{}) }); err != nil {
			t.Fatal(err)
		}
	}
	const gone = "client-gone"
	if err := n.cluster.Arrive(t.Context(), "lobby", gone, "", func() { n.engine.Users().Open("lobby", gone, nobody{}) }); err != nil {
		t.Fatal(err)
	}
	n.engine.Users().Leave("lobby", gone)
	n.cluster.Changed("lobby")
	told := func() int {
		other.mu.Lock()
		defer other.mu.Unlock()
		ids := make(map[string]bool)
		for _, e := range other.said {
			if len(e.Joined) > 2000 {
				t.Errorf("an entry names %d ids, want at most 2000: of 64 bytes each they are too many for a message", len(e.Joined))
			}
			for _, id := range e.Joined {
				ids[id] = true
				if id == gone {
					t.Error("they are told of one who has left: on their nodes it may still be")
				}
			}
		}
		return len(ids)
	}
	rig.Wait(t, 5*time.Second, "all are told of", func() bool { return told() >= users })
	s.stop()
	other.mu.Lock()
	other.said = nil
	other.mu.Unlock()
	startNATS(t, port(s.URL), dir)
	rig.Wait(t, 10*time.Second, "all are told of again", func() bool { return told() >= users })
}

// The others have taken a node for dead: it counts under a new name, once it is known who is elsewhere by now. It asks them
// all for that, also those of whom it has heard nothing because it was away. Streams stay.
func TestComesBack(t *testing.T) {
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	n := startNode(t, way.URL()).ready(t)
	other := play(t, s.URL, "actoraaa")
	watcher, goes := read(t, n.URL, "lobby", "client-watch"), read(t, n.URL, "lobby", "client-goes")
	other.awaitSaid(n, "two users", func(e entry) bool { return e.Users == 2 })
	way.change(func(data []byte) { lose(data, "MSG $KV.headcount_counts.", "MSG $KV.headcount_nobody.") })
	other.says("1", entry{Users: 1}) // which is lost
	name := n.cluster.Name()
	var rolls []shout
	other.reply(func(q ask) *answer { return &answer{IDs: q.Has} })
	other.mu.Lock()
	other.rolled = func(q shout) *answer {
		if e := other.saidBy(n); !strings.HasPrefix(e.ID, name+"-") {
			t.Errorf("the node said %+v before it had asked who is elsewhere", e)
		}
		other.mu.Lock()
		defer other.mu.Unlock()
		rolls = append(rolls, q)
		return &answer{Node: "actoraaa-0", IDs: []string{"client-goes"}}
	}
	other.mu.Unlock()
	other.nc.Publish("headcount.node."+n.cluster.Tag(), encode(ask{Dead: n.cluster.Tag() + "-7"})) // which it is not
	other.nc.Publish("headcount.node."+n.cluster.Tag(), encode(ask{Dead: name}))
	got := other.awaitSaid(n, "it counts under a new name", func(e entry) bool { return !strings.HasPrefix(e.ID, name+"-") })
	if want := n.cluster.Tag() + "-1"; !strings.HasPrefix(got.ID, want+"-") || got.Users != 1 {
		t.Errorf("got %+v, want one user of %s", got, want)
	}
	watcher.await(t, 2)
	other.mu.Lock()
	defer other.mu.Unlock()
	if len(rolls) != 1 {
		t.Errorf("asked %d times who is elsewhere, want once: %+v", len(rolls), rolls)
	}
	if watcher.opens() != 1 || goes.opens() != 1 {
		t.Errorf("streams were opened %d and %d times, want once", watcher.opens(), goes.opens())
	}
}

// Two nodes come back at once and ask each other for the same users: the one with the later name keeps them. A node that
// has never been away keeps its own.
func TestTwoComeBack(t *testing.T) {
	for _, row := range []struct {
		name, tag string
		back      bool
		want      []string
	}{
		{"the other has the later name", "zzzzzzzz", true, nil},
		{"the other has the earlier name", "22222222", true, []string{"client-watch"}},
		{"only the other comes back", "zzzzzzzz", false, []string{"client-watch"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			n, other := startBeside(t, startNATS(t, 0, t.TempDir()).URL, row.tag)
			result := make(chan answer, 1)
			ask1 := func() {
				got, _ := other.roll("client-watch", "client-other")
				result <- got
			}
			if row.back {
				other.mu.Lock()
				other.rolled = func(shout) *answer {
					ask1()
					return nil
				}
				other.mu.Unlock()
				other.nc.Publish("headcount.node."+n.cluster.Tag(), encode(ask{Dead: n.cluster.Name()}))
			} else {
				ask1()
			}
			if got := receive(t, "the answer while it comes back", result); !slices.Equal(got.IDs, row.want) {
				t.Errorf("got %v, want %v", got.IDs, row.want)
			}
		})
	}
}

// A node that comes back asks for a few rooms at a time: all at once, as with many rooms on many nodes, and nobody would be
// heard any more. If that takes so long that it is taken for dead again, it asks for each once more and no oftener.
func TestRoomsComeBackInTurn(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	n := startNode(t, url).ready(t)
	other := play(t, url, "actoraaa")
	const rooms, atOnce = 12, 4
	for i := range rooms {
		room, id := fmt.Sprintf("room %d", i), fmt.Sprintf("client-%04d", i)
		n.engine.Hub().Open(room)
		n.engine.Users().Open(room, id, nobody{})
		n.cluster.Changed(room)
		other.says("1", entry{Room: room, Users: 1})
		rig.Wait(t, 5*time.Second, "the other's count", func() bool { return count(n.URL, room) == 2 })
	}
	asked := make(map[string][]time.Time) // by whom and for which user, when
	other.mu.Lock()
	other.rolled = func(s shout) *answer { // is not answered, which is waited for
		other.mu.Lock()
		defer other.mu.Unlock()
		asked[s.Node] = append(asked[s.Node], time.Now())
		asked[s.Node+s.Roll[0]] = nil
		return nil
	}
	other.mu.Unlock()
	dead := func(name string) { other.nc.Publish("headcount.node."+n.cluster.Tag(), encode(ask{Dead: name})) }
	dead(n.cluster.Name())
	first, second := n.cluster.Tag()+"-1", n.cluster.Tag()+"-2"
	rig.Wait(t, 5*time.Second, "the first rooms are asked for", func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		return len(asked[first]) > 0
	})
	dead(first)
	rig.Wait(t, 10*time.Second, "all rooms are asked for again", func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		for i := range rooms {
			if _, ok := asked[second+fmt.Sprintf("client-%04d", i)]; !ok {
				return false
			}
		}
		return true
	})
	other.mu.Lock()
	defer other.mu.Unlock()
	if got := asked[second]; len(got) != rooms {
		t.Errorf("asked %d times for %d rooms, want once each", len(got), rooms)
	} else if took := got[rooms-1].Sub(got[0]); took < (rooms/atOnce-2)*250*time.Millisecond {
		t.Errorf("%d rooms were asked for within %v, want %d at once, each for 250ms", rooms, took, atOnce)
	}
}
