package union_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"headcount/internal/cluster/union"
)

// Users of a stopped node who have come back already are told again, in deltas of the usual size, and only if they are
// still there.
func TestBackAlready(t *testing.T) {
	p := newPair(t, 2)
	p.open()
	var back []string
	kept := union.Kept{Room: "r"}
	for i := range 5 {
		back = append(back, fmt.Sprintf("client-stays-%d", i))
		kept.Users, kept.Millis = append(kept.Users, union.Hash(nil, back[i])), append(kept.Millis, 9000)
	}
	p.local("b", nil, back, 0)
	p.do("b", p.m["b"].Local(p.now, "r", nil, []string{"client-0"}, 0)) // the next delta waits
	sent[union.Delta](p)
	p.do("b", p.m["b"].Apply(p.now, kept))
	p.do("b", p.m["b"].Local(p.now, "r", back[:1], nil, 0))
	p.wait(200 * time.Millisecond)
	p.want("one of them has left in the meantime", 5, 5)
	for _, m := range p.sent {
		if d, ok := m.(union.Delta); ok && len(d.Joined)+len(d.Left) > 2 {
			t.Errorf("got a delta of %d users, want 2 at most", len(d.Joined)+len(d.Left))
		}
	}
	if got := sent[union.Delta](p); got != 3 {
		t.Errorf("got %d deltas, want 3 for five users", got)
	}
}

// A room that changes all the time sends a digest at least once a minute.
func TestDigestOfBusyRoom(t *testing.T) {
	p := newPair(t, 0)
	p.open()
	p.local("a", nil, ids(3), 0)
	p.do("b", p.m["b"].Apply(p.now, union.Delta{Node: "a", Room: "r", Instance: 101, Seq: 2, Joined: []uint64{1}}))
	p.lose = func(m union.Message) bool { _, ok := m.(union.Delta); return ok }
	p.local("a", nil, []string{"client-x"}, 0)
	p.lose = func(union.Message) bool { return false }
	sent[union.Digest](p)
	for range 150 {
		p.local("a", nil, []string{"client-y"}, 0)
		p.local("a", []string{"client-y"}, nil, 0)
	}
	p.want("after a minute", 4, 4)
	if got := p.mismatches(); got != 1 {
		t.Errorf("got %d mismatches, want 1", got)
	}
	if got := sent[union.Digest](p); got > 3 {
		t.Errorf("got %d digests in a minute, want 3 at most", got)
	}
}

// Users of a crashed process leave the count even if a new one has its name at once, but it may open the room first.
func TestSuccessorWithoutRoom(t *testing.T) {
	for _, pause := range []time.Duration{0, 3 * time.Second} {
		p := newPair(t, 0)
		p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
		p.do("a", p.m["a"].Open(p.now, "r", ids(3), 2))
		p.wait(3 * time.Second)
		p.tickB(pause)
		p.start("a", 1000, 0)
		p.wait(4 * time.Second)
		p.want("it may open the room", 0, 5)
		p.wait(2 * time.Second)
		p.want("it has not opened the room", 0, 0)
	}
}

// A late heartbeat of the old process changes nothing.
func TestLateHeartbeat(t *testing.T) {
	p := newPair(t, 0)
	p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
	p.do("a", p.m["a"].Open(p.now, "r", ids(3), 0))
	p.wait(3 * time.Second)
	p.start("a", 1000, 0)
	p.do("a", p.m["a"].Open(p.now, "r", ids(3), 0))
	p.wait(3 * time.Second)
	sent[union.Sync](p)
	p.do("b", p.m["b"].Apply(p.now, union.Heartbeat{Node: "a", Incarnation: 100, Rooms: 1, Users: 3}))
	p.wait(200 * time.Millisecond)
	p.local("a", nil, []string{"client-x"}, 0)
	p.want("one has joined", 4, 4)
	if got := sent[union.Sync](p); got != 0 {
		t.Errorf("got %d questions, want none", got)
	}
}

// A node that starts hears of the others at once, however late their next heartbeat is. So it shows no part of a count.
func TestStartBetweenHeartbeats(t *testing.T) {
	p := newPair(t, 0)
	delete(p.m, "b")
	p.do("a", p.m["a"].Open(p.now, "r", ids(3), 0))
	p.do("a", p.m["a"].Tick(p.now.Add(500*time.Millisecond)))
	p.start("b", 300, 0)
	for range 30 {
		p.now = p.now.Add(20 * time.Millisecond)
		p.do("b", p.m["b"].Tick(p.now))
	}
	p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
	p.want("a has sent no heartbeat since", 3, 3)
}

// A new process may have the name of a node that has stopped.
func TestNameOfStoppedNode(t *testing.T) {
	p := newPair(t, 0)
	p.open()
	p.local("a", nil, ids(2), 0)
	p.do("a", p.m["a"].Stop(p.now, func(_, _ string) time.Duration { return 3 * time.Second }))
	p.start("a", 1000, 0)
	p.do("a", p.m["a"].Open(p.now, "r", ids(1), 2))
	p.wait(time.Second)
	p.want("one has joined again, and two without an id", 4, 4)
	p.wait(3 * time.Second)
	p.want("the other one is not kept any more", 3, 3)
}

// A node whose messages may be lost sends a digest for each room that has changed a moment ago, because the change and the
// digest after it may be lost.
func TestDigestAfterLoss(t *testing.T) {
	p := newPair(t, 0)
	p.open()
	p.wait(3 * time.Second)
	p.lose = func(m union.Message) bool { _, beats := m.(union.Heartbeat); return !beats }
	p.local("a", nil, ids(1), 0)
	p.wait(6 * time.Second)
	p.lose = func(union.Message) bool { return false }
	p.wait(time.Second)
	p.want("the change is lost", 1, 0)
	p.do("a", p.m["a"].Lost(p.now))
	p.wait(time.Second)
	p.want("and found", 1, 1)
}

// A whole set that is already known is not read again.
func TestKnownSet(t *testing.T) {
	p := newPair(t, 0)
	p.open()
	p.local("a", nil, ids(3), 0)
	p.lose = func(m union.Message) bool { _, ok := m.(union.Sync); return ok }
	p.do("b", p.m["b"].Lost(p.now))
	lag := func() int { return p.m["b"].Nodes(p.now)[0].Lag }
	if got := lag(); got != 1 {
		t.Fatalf("got %d sets that may be incomplete, want 1", got)
	}
	state := union.State{Instance: 101, Seq: 1, Size: 3}
	for _, id := range ids(3) {
		state.Xor ^= union.Hash(nil, id)
	}
	p.do("b", p.m["b"].Apply(p.now, union.Set{Node: "a", Room: "r", State: state, Parts: 2}))
	if got := lag(); got != 0 {
		t.Errorf("after the first part of the same set: got %d sets that may be incomplete, want 0", got)
	}
	p.want("the same set", 3, 3)
}

// The sets of a silent node are remembered for a minute, even if they were confirmed long before.
func TestLongSilence(t *testing.T) {
	for _, row := range []struct {
		silence time.Duration
		sets    int
	}{{30 * time.Second, 0}, {70 * time.Second, 2}} {
		p := newPair(t, 0)
		for _, name := range []string{"a", "b"} {
			p.do(name, p.m[name].Open(p.now, "r", []string{"client-" + name}, 0))
		}
		p.wait(44 * time.Second)
		p.lose = func(union.Message) bool { return true }
		p.wait(row.silence)
		p.want("silent", 1, 1)
		p.lose = func(union.Message) bool { return false }
		sent[union.Set](p)
		p.wait(2 * time.Second)
		p.want("heard again", 2, 2)
		if got := sent[union.Set](p); got != row.sets {
			t.Errorf("silent for %v: got %d sets, want %d", row.silence, got, row.sets)
		}
	}
}

// A node that is heard after a pause is asked again soon, even if it did not answer several times.
func TestAskAfterPause(t *testing.T) {
	p := newPair(t, 0)
	p.do("a", p.m["a"].Open(p.now, "r", ids(3), 0))
	p.local("a", nil, []string{"client-x"}, 0)
	p.lose = func(union.Message) bool { return true }
	p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
	p.wait(4 * time.Second)
	p.lose = func(union.Message) bool { return false }
	p.wait(1500 * time.Millisecond)
	p.want("heard again", 4, 4)
}

// A node is not heard for a while that is too short for it to be silent. What was lost meanwhile is found, and asked for
// only once, also if this node knows by itself that messages were lost.
func TestPause(t *testing.T) {
	for _, known := range []bool{false, true} {
		p := newPair(t, 0)
		p.open()
		p.wait(3 * time.Second)
		p.lose = func(union.Message) bool { return true }
		p.local("a", nil, ids(1), 0)
		p.wait(3 * time.Second)
		p.want("a change and its digest are lost", 1, 0)
		p.lose = func(union.Message) bool { return false }
		sent[union.Sync](p)
		if known {
			p.do("b", p.m["b"].Lost(p.now))
		}
		p.wait(time.Second)
		p.want("heard again", 1, 1)
		if got := sent[union.Sync](p); got != 2 {
			t.Errorf("known %v: got %d questions, want one of each node", known, got)
		}
	}
}

// A room is ready when all nodes have answered, or when the wait for them is over. What they repeat later is heard all the
// same.
func TestRepetitionAfterReady(t *testing.T) {
	p := newPair(t, 0)
	delta := union.Delta{Node: "a", Room: "r", Instance: 101, Seq: 1, Joined: []uint64{7}}
	p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
	p.do("b", p.m["b"].Apply(p.now, delta))
	p.wait(2 * time.Second)
	p.do("b", p.m["b"].Apply(p.now, union.Kept{Node: "a", Room: "r", Repeat: true, Users: []uint64{7, 8}, Millis: []uint32{9_000, 9_000}}))
	p.want("one is back, one is kept", 0, 2)
	delta.Seq, delta.Joined, delta.Left = 2, nil, delta.Joined
	p.do("b", p.m["b"].Apply(p.now, delta))
	p.want("who was back has left", 0, 1)
}

// A node that has many messages to apply asks nobody twice and declares nobody silent, but not for ever.
func TestBusy(t *testing.T) {
	busy, now := false, time.Unix(1e9, 0)
	m := union.New(union.Options{Node: "b", Incarnation: 1, Busy: func() bool { return busy }})
	var sent []union.Outgoing
	var silent []string
	do := func(e union.Effects) {
		silent = append(silent, e.Silent...)
		sent = slices.DeleteFunc(append(sent, e.Send...), func(o union.Outgoing) bool {
			_, asks := o.Message.(union.Sync)
			return !asks
		})
	}
	wait := func(d time.Duration) {
		for end := now.Add(d); now.Before(end); now = now.Add(50 * time.Millisecond) {
			do(m.Tick(now))
		}
	}
	do(m.Connect(now, true))
	do(m.Apply(now, union.Heartbeat{Node: "a", Incarnation: 1, Rooms: 1}))
	wait(time.Second)
	busy = true
	do(m.Open(now, "r", nil, 0))
	wait(9 * time.Second)
	if len(sent) != 1 || len(silent) != 0 {
		t.Errorf("while it is busy: got %d questions and silent nodes %v, want one and none", len(sent), silent)
	}
	wait(2 * time.Second)
	if len(silent) != 1 {
		t.Errorf("busy for 11 s: got silent nodes %v, want one", silent)
	}
	busy = false
	wait(time.Second)
	busy, sent = true, nil
	do(m.Apply(now, union.Heartbeat{Node: "a", Incarnation: 1, Rooms: 1}))
	if len(sent) != 1 {
		t.Errorf("heard again while this node is busy: got %d questions, want one", len(sent))
	}
}

// More than 64 nodes may hold the same user. It counts once, until none of them holds it.
func TestManyNodes(t *testing.T) {
	const nodes = 130
	now := time.Unix(1e9, 0)
	m := union.New(union.Options{Node: "self", Incarnation: 1})
	m.Connect(now, true)
	m.Open(now, "r", nil, 0)
	for i := range nodes {
		own := uint64(i + 2)
		d := union.Delta{Node: fmt.Sprint(i), Room: "r", Instance: 1, Seq: 1, Joined: []uint64{1, own}}
		m.Apply(now, d)
		if got, _ := m.Count("r"); got != i+2 {
			t.Fatalf("%d nodes hold the user: got %d users, want %d", i+1, got, i+2)
		}
	}
	for i := range nodes {
		m.Apply(now, union.Delta{Node: fmt.Sprint(i), Room: "r", Instance: 1, Seq: 2, Left: []uint64{1}})
		want := nodes
		if i < nodes-1 {
			want++
		}
		if got, _ := m.Count("r"); got != want {
			t.Fatalf("%d nodes hold the user: got %d users, want %d", nodes-1-i, got, want)
		}
	}
}

// A user whom two nodes hold leaves the count when both are silent, and is back with the first of them.
func TestUserOfSilentNodes(t *testing.T) {
	now := time.Unix(1e9, 0)
	m := union.New(union.Options{Node: "self", Incarnation: 1})
	m.Connect(now, true)
	m.Open(now, "r", nil, 0)
	for _, name := range []string{"a", "b"} {
		m.Apply(now, union.Delta{Node: name, Room: "r", Instance: 1, Seq: 1, Joined: []uint64{7}})
	}
	heard := union.Digest{Node: "a", Sets: []union.RoomState{{Room: "r", State: union.State{Instance: 1, Seq: 1, Size: 1, Xor: 7}}}}
	for _, row := range []struct {
		name    string
		message union.Message
		want    int
	}{{"b beats", union.Heartbeat{Node: "b", Incarnation: 1, Rooms: 1}, 1}, {"both are silent", nil, 0}, {"a is heard", heard, 1}} {
		for range 4 {
			now = now.Add(time.Second)
			m.Tick(now)
		}
		if row.message != nil {
			m.Apply(now, row.message)
		}
		now = now.Add(time.Second)
		m.Tick(now)
		if got, _ := m.Count("r"); got != row.want {
			t.Errorf("%s: got %d users, want %d", row.name, got, row.want)
		}
	}
}

// A user is on c, and its former node a stops. That c still has it arrives before the request of a to keep it. So the
// user leaves the count when it leaves c. When c stops in its turn, its request holds.
func TestOvertakenKept(t *testing.T) {
	h := union.Hash(nil, "client-0")
	leaves := union.Delta{Node: "c", Room: "r", Instance: 1, Seq: 3, Left: []uint64{h}}
	stop := func(node string) []union.Message {
		return []union.Message{union.Kept{Node: node, Room: "r", Users: []uint64{h}, Millis: []uint32{5_000}}, union.Stopped{Node: node, Incarnation: 1}}
	}
	a := stop("a")
	for _, row := range []struct {
		name  string
		after []union.Message // the report of c
		want  int
	}{
		{"it leaves c", append(a, leaves), 0},
		{"it leaves c, and another node stops", append([]union.Message{union.Stopped{Node: "d", Incarnation: 1}}, append(a, leaves)...), 0},
		{"c stops", append(a, stop("c")...), 1},
		{"it moves on to d, which stops", append(append(a, union.Delta{Node: "d", Room: "r", Instance: 1, Seq: 1, Joined: []uint64{h}}, leaves), stop("d")...), 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPair(t, 0)
			p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
			p.wait(2 * time.Second)
			for _, msg := range append([]union.Message{
				union.Heartbeat{Node: "c", Incarnation: 1},
				union.Delta{Node: "c", Room: "r", Instance: 1, Seq: 1, Joined: []uint64{h}},
				union.Delta{Node: "c", Room: "r", Instance: 1, Seq: 2, Joined: []uint64{h}},
			}, row.after...) {
				p.do("b", p.m["b"].Apply(p.now, msg))
			}
			p.wait(200 * time.Millisecond)
			if got, _ := p.m["b"].Count("r"); got != row.want {
				t.Errorf("got %d users, want %d", got, row.want)
			}
		})
	}
}

// A user comes to c when a has just stopped, and c reports it again. When c stops in its turn, its request holds.
func TestStopAfterStop(t *testing.T) {
	p := newPair(t, 0)
	p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
	p.wait(2 * time.Second)
	h := union.Hash(nil, "client-0")
	for _, msg := range []union.Message{
		union.Heartbeat{Node: "c", Incarnation: 1},
		union.Kept{Node: "a", Room: "r", Users: []uint64{h}, Millis: []uint32{5000}},
		union.Stopped{Node: "a", Incarnation: 100},
		union.Delta{Node: "c", Room: "r", Instance: 1, Seq: 1, Joined: []uint64{h}},
		union.Delta{Node: "c", Room: "r", Instance: 1, Seq: 2, Joined: []uint64{h}},
		union.Kept{Node: "c", Room: "r", Users: []uint64{h}, Millis: []uint32{5000}},
		union.Stopped{Node: "c", Incarnation: 1},
	} {
		p.do("b", p.m["b"].Apply(p.now, msg))
	}
	p.wait(200 * time.Millisecond)
	if got, _ := p.m["b"].Count("r"); got != 1 {
		t.Errorf("got %d users, want 1", got)
	}
}
