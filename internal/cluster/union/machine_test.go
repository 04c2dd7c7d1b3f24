package union_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"headcount/internal/cluster/union"
)

// pair is two machines. Their messages arrive at once, unless lose drops them.
type pair struct {
	t    *testing.T
	now  time.Time
	m    map[string]*union.Machine
	sent []union.Message
	lose func(union.Message) bool

	changed []int // counts of b, whenever they changed
}

func newPair(t *testing.T, chunk int) *pair {
	p := &pair{t: t, now: time.Unix(1e9, 0), m: map[string]*union.Machine{}, lose: func(union.Message) bool { return false }}
	for i, name := range []string{"a", "b"} {
		p.start(name, uint64(i+1)*100, chunk)
	}
	p.wait(time.Second)
	return p
}

// start starts a node, or a new process under its name.
func (p *pair) start(name string, incarnation uint64, chunk int) {
	p.m[name] = union.New(union.Options{
		Node: name, Incarnation: incarnation, Chunk: chunk,
		HasStream: func(_, id string) bool { return strings.HasPrefix(id, "client-stays") },
	})
	p.do(name, p.m[name].Connect(p.now, true))
}

// open opens the room on both nodes.
func (p *pair) open() {
	for _, name := range []string{"a", "b"} {
		p.do(name, p.m[name].Open(p.now, "r", nil, 0))
	}
}

func (p *pair) do(from string, e union.Effects) {
	if from == "b" && len(e.Changes) > 0 {
		users, _ := p.m["b"].Count("r")
		p.changed = append(p.changed, users)
	}
	for _, out := range e.Send {
		p.sent = append(p.sent, out.Message)
		for name, m := range p.m {
			if name != from && (out.To.Node == "" || out.To.Node == name) && !p.lose(out.Message) {
				p.do(name, m.Apply(p.now, out.Message))
			}
		}
	}
}

func (p *pair) wait(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); p.now = p.now.Add(50 * time.Millisecond) {
		for _, name := range []string{"a", "b"} {
			p.do(name, p.m[name].Tick(p.now))
		}
	}
}

func (p *pair) local(node string, left, joined []string, anonymous int) {
	p.do(node, p.m[node].Local(p.now, "r", left, joined, anonymous))
	p.wait(200 * time.Millisecond)
}

func (p *pair) want(what string, a, b int) {
	p.t.Helper()
	gotA, _ := p.m["a"].Count("r")
	gotB, _ := p.m["b"].Count("r")
	if gotA != a || gotB != b {
		p.t.Errorf("%s: got %d and %d users, want %d and %d", what, gotA, gotB, a, b)
	}
}

// mismatches returns how many digests did not match the set that b knew.
func (p *pair) mismatches() int { return p.m["b"].Nodes(p.now)[1].Mismatches }

// sent returns how many messages of a type were sent since the last call, and forgets all of them.
func sent[M any](p *pair) (n int) {
	for _, m := range p.sent {
		if _, ok := m.(M); ok {
			n++
		}
	}
	p.sent = nil
	return n
}

func ids(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("client-%d", i))
	}
	return list
}

// A missing delta is detected with the next delta, and a changed one with the next digest. Then the whole set is sent,
// in parts if it is large.
func TestRepair(t *testing.T) {
	p := newPair(t, 3)
	p.open()
	p.local("a", nil, ids(7), 2)
	p.want("seven and two without an id", 9, 9)
	p.wait(3 * time.Second)
	isDelta := func(m union.Message) bool { _, ok := m.(union.Delta); return ok }
	sent[union.Set](p)

	p.lose = isDelta
	p.local("a", []string{"client-0"}, nil, 2)
	p.want("one left, which is lost", 8, 9)
	p.lose = func(union.Message) bool { return false }
	p.local("a", nil, []string{"client-x"}, 2)
	p.want("the next one has both", 9, 9)
	if got := sent[union.Set](p); got != 3 {
		t.Errorf("got %d parts of a set, want 3", got)
	}
	if got := p.mismatches(); got != 0 {
		t.Errorf("got %d mismatches, want none: a number was missing", got)
	}

	p.wait(3 * time.Second)
	p.do("b", p.m["b"].Apply(p.now, union.Delta{Node: "a", Room: "r", Instance: 101, Seq: 6, Anonymous: 7}))
	p.lose = isDelta
	p.local("a", []string{"client-1"}, nil, 2)
	p.lose = func(union.Message) bool { return false }
	p.want("another delta than was sent", 8, 14)
	p.wait(2 * time.Second)
	p.want("its digest", 8, 8)
	if got := p.mismatches(); got != 1 {
		t.Errorf("got %d mismatches, want 1", got)
	}
}

// A silent node does not count. When it is heard again it counts again, and its set is not sent again.
func TestSilence(t *testing.T) {
	p := newPair(t, 0)
	for _, name := range []string{"a", "b"} {
		p.do(name, p.m[name].Open(p.now, "r", []string{"client-" + name}, 0))
	}
	p.wait(3 * time.Second)
	p.want("both", 2, 2)
	sent[union.Set](p)
	p.lose = func(union.Message) bool { return true }
	p.wait(4 * time.Second)
	p.want("silent for 4 s", 2, 2)
	p.wait(time.Second)
	p.want("silent for 5 s", 1, 1)
	if got := p.m["a"].Nodes(p.now); len(got) != 1 {
		t.Errorf("got nodes %v, want one", got)
	}
	p.lose = func(union.Message) bool { return false }
	p.wait(time.Second)
	p.want("heard again", 2, 2)
	if got := sent[union.Set](p); got != 0 {
		t.Errorf("got %d sets, want none: they are the same", got)
	}
	p.wait(3 * time.Second)
	p.now = p.now.Add(10 * time.Second)
	p.m["b"].Tick(p.now)
	if got, _ := p.m["b"].Count("r"); got != 2 {
		t.Errorf("after a freeze, before it has read what came meanwhile: got %d users, want 2", got)
	}
}

// An opened room is ready when the other nodes have answered, and not before.
func TestReady(t *testing.T) {
	p := newPair(t, 0)
	p.do("a", p.m["a"].Open(p.now, "r", ids(3), 0))
	p.wait(time.Second)
	p.lose = func(m union.Message) bool { _, ok := m.(union.Set); return ok }
	if e := p.m["b"].Open(p.now, "r", nil, 0); slices.Contains(e.Ready, "r") {
		t.Error("the room is ready before the other node has answered")
	}
	p.lose = func(union.Message) bool { return false }
	ready := false
	for range 30 {
		e := p.m["b"].Tick(p.now)
		ready = ready || slices.Contains(e.Ready, "r")
		p.do("b", e)
		p.wait(50 * time.Millisecond)
	}
	p.want("asked again", 3, 3)
	if !ready {
		t.Error("the room is never ready")
	}
}

// A user who joins and leaves between two deltas is not sent to the other nodes.
func TestPassing(t *testing.T) {
	p := newPair(t, 0)
	for _, name := range []string{"a", "b"} {
		p.do(name, p.m[name].Open(p.now, "r", []string{"client-" + name}, 0))
	}
	sent[union.Delta](p)
	p.do("a", p.m["a"].Local(p.now, "r", nil, []string{"client-0"}, 0))
	p.do("a", p.m["a"].Local(p.now, "r", []string{"client-0"}, nil, 0))
	p.wait(300 * time.Millisecond)
	p.want("who passed by", 2, 2)
	if got := sent[union.Delta](p); got != 0 {
		t.Errorf("got %d deltas, want none", got)
	}
	p.do("a", p.m["a"].Local(p.now, "r", nil, []string{"client-0"}, 0))
	for range 2 { // and is known to the others
		p.do("a", p.m["a"].Local(p.now, "r", []string{"client-a"}, nil, 0))
		p.do("a", p.m["a"].Local(p.now, "r", nil, []string{"client-a"}, 0))
	}
	p.do("a", p.m["a"].Local(p.now, "r", []string{"client-a"}, nil, 0))
	p.wait(300 * time.Millisecond)
	p.want("who left and came back twice, and left", 2, 2)
}

// The users of a node that stops are kept for their time, or until they have come to another node.
func TestStop(t *testing.T) {
	p := newPair(t, 0)
	p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
	p.do("a", p.m["a"].Open(p.now, "r", ids(3), 5))
	p.wait(time.Second)
	p.do("a", p.m["a"].Stop(p.now, func(_, id string) time.Duration {
		return map[string]time.Duration{"client-0": 3 * time.Second, "client-1": 9 * time.Second}[id]
	}))
	delete(p.m, "a")
	count := func(what string, want int) {
		t.Helper()
		if got, _ := p.m["b"].Count("r"); got != want {
			t.Errorf("%s: got %d users, want %d", what, got, want)
		}
	}
	p.tickB(2 * time.Second)
	count("two are kept", 2)
	p.do("b", p.m["b"].Local(p.now, "r", nil, []string{"client-1"}, 0))
	count("one is back", 2)
	p.do("b", p.m["b"].Local(p.now, "r", []string{"client-1"}, nil, 0))
	count("and gone", 1)
	p.tickB(2 * time.Second)
	count("the other's time is over", 0)
	p.m["b"].Apply(p.now, union.Heartbeat{Node: "a", Incarnation: 100})
	p.m["b"].Apply(p.now, union.Delta{Node: "a", Room: "r", Instance: 101, Seq: 1, Joined: []uint64{1}})
	count("what was late", 0)
	if got := p.m["b"].Nodes(p.now); len(got) != 1 {
		t.Errorf("got nodes %v, want one", got)
	}
}

func (p *pair) tickB(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); p.now = p.now.Add(50 * time.Millisecond) {
		p.do("b", p.m["b"].Tick(p.now))
	}
}

// A process that takes over another one's name and users changes the count by the real change, in however many messages
// they come, and also if the clock was set back.
func TestSuccessor(t *testing.T) {
	for _, incarnation := range []uint64{1000, 50} {
		p := newPair(t, 2)
		p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
		p.do("a", p.m["a"].Open(p.now, "r", ids(7), 2))
		p.wait(3 * time.Second)
		p.changed = nil
		p.start("a", incarnation, 2)
		p.do("a", p.m["a"].Open(p.now, "r", ids(7)[1:], 2))
		p.wait(3 * time.Second)
		p.want("one has left", 8, 8)
		if want := []int{8}; !slices.Equal(p.changed, want) {
			t.Errorf("incarnation %d: the other node counted %v, want %v", incarnation, p.changed, want)
		}
	}
}

// A new process has the name of a node that was silent or has stopped, and the clock was set back.
func TestClockSetBack(t *testing.T) {
	for _, stops := range []bool{false, true} {
		p := newPair(t, 0)
		p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
		p.do("a", p.m["a"].Open(p.now, "r", ids(3), 0))
		p.wait(3 * time.Second)
		if stops {
			p.do("a", p.m["a"].Stop(p.now, func(_, _ string) time.Duration { return 0 }))
		}
		delete(p.m, "a")
		p.tickB(6 * time.Second)
		p.start("a", 50, 0)
		p.do("a", p.m["a"].Open(p.now, "r", ids(1), 0))
		p.wait(2 * time.Second)
		p.want(fmt.Sprintf("the old process has stopped: %v", stops), 1, 1)
		p.local("a", ids(1), nil, 0)
		p.want("nobody", 0, 0)
	}
}

// A delta of a new process does not follow one of the old process, whatever its number. The node is asked.
func TestDeltaOfSuccessor(t *testing.T) {
	p := newPair(t, 0)
	p.open()
	p.local("a", nil, ids(3), 0)
	p.wait(2 * time.Second)
	sent[union.Sync](p)
	p.lose = func(m union.Message) bool { _, ok := m.(union.Sync); return ok }
	p.do("b", p.m["b"].Apply(p.now, union.Delta{Node: "a", Room: "r", Instance: 1001, Seq: 2, Joined: []uint64{1}}))
	p.want("the first delta of the new process is missing", 3, 3)
	if got := sent[union.Sync](p); got != 1 {
		t.Errorf("got %d questions, want one", got)
	}
}

// Messages that arrive late or twice change nothing, and need no answer.
func TestLate(t *testing.T) {
	p := newPair(t, 0)
	for _, name := range []string{"b", "a"} {
		p.do(name, p.m[name].Open(p.now, "r", nil, 0))
	}
	p.local("a", nil, ids(3), 0)
	p.local("a", []string{"client-0"}, nil, 0)
	p.wait(5 * time.Second)
	sent[union.Sync](p)
	old := union.State{Instance: 101, Seq: 1, Size: 3}
	for _, msg := range []union.Message{
		union.Delta{Node: "a", Room: "r", Instance: 101, Seq: 1, Joined: []uint64{1, 2, 3}},
		union.Delta{Node: "a", Room: "r", Instance: 100, Seq: 9, Joined: []uint64{1, 2, 3}},
		union.Set{Node: "a", Room: "r", State: old, Parts: 1, Users: []uint64{1, 2, 3}},
		union.Digest{Node: "a", Sets: []union.RoomState{{Room: "r", State: old}}},
		union.Closed{Node: "a", Room: "r", Instance: 100},
		union.Set{Node: "a", Room: "r", State: union.State{Instance: 101, Seq: 9}, Part: 1, Parts: 2, Users: []uint64{1, 2, 3}},
		union.Kept{Room: "r", Repeat: true, Users: []uint64{1}, Millis: []uint32{9_000}},
	} {
		p.do("b", p.m["b"].Apply(p.now, msg))
		p.wait(100 * time.Millisecond)
		p.want(fmt.Sprintf("%T", msg), 2, 2)
		if got := sent[union.Sync](p); got != 0 {
			t.Errorf("%T: got %d questions, want none", msg, got)
		}
	}
}

// A user who says goodbye is not kept any more, also in a room that is opened later.
func TestGoodbyeOfKept(t *testing.T) {
	for _, open := range []bool{false, true} {
		p := newPair(t, 0)
		b := p.m["b"]
		if open {
			b.Open(p.now, "r", nil, 0)
		}
		for _, row := range []struct {
			name string
			msg  union.Message
			want int
		}{
			{"its node stops", union.Kept{Room: "r", Users: []uint64{1, 2}, Millis: []uint32{9_000, 9_000}}, 2},
			{"one says goodbye", union.Goodbye{Room: "r", Users: []uint64{1}}, 1},
			{"which overtook what a node says", union.Kept{Room: "r", Users: []uint64{1}, Millis: []uint32{9_000}}, 1},
			{"and is back there", union.Kept{Room: "r", Back: []uint64{1}, Users: []uint64{1}, Millis: []uint32{9_000}}, 2},
			{"the other says goodbye", union.Goodbye{Room: "r", Users: []uint64{2}}, 1},
		} {
			b.Apply(p.now, row.msg)
			if !open {
				b.Open(p.now, "r", nil, 0)
			}
			if got, _ := b.Count("r"); got != row.want {
				t.Errorf("%s, open %v: got %d users, want %d", row.name, open, got, row.want)
			}
			if !open {
				b.Close(p.now, "r")
			}
		}
	}
}

// A user who says goodbye with a grace period is kept until its end, also if the goodbye overtook the message of the node.
func TestGraceOfKept(t *testing.T) {
	p := newPair(t, 0)
	p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
	p.do("b", p.m["b"].Apply(p.now, union.Goodbye{Room: "r", Grace: time.Second, Users: []uint64{1}}))
	p.do("b", p.m["b"].Apply(p.now, union.Kept{Room: "r", Users: []uint64{1, 2}, Millis: []uint32{9_000, 9_000}}))
	p.want("both are kept", 0, 2)
	p.wait(2 * time.Second)
	p.want("one has left", 0, 1)
}

// A goodbye does not hold for a user who came back to a node that stops, however late the goodbye arrived elsewhere.
func TestBackAfterGoodbye(t *testing.T) {
	for _, after := range []time.Duration{500 * time.Millisecond, 1100 * time.Millisecond, 2200 * time.Millisecond} {
		p := newPair(t, 0)
		p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
		p.do("a", p.m["a"].Open(p.now, "r", ids(1), 0))
		bye := union.Goodbye{Room: "r", Users: []uint64{union.Hash(nil, "client-0")}}
		p.do("a", p.m["a"].Apply(p.now, bye))
		p.local("a", ids(1), nil, 0)
		p.local("a", nil, ids(1), 0)
		p.do("b", p.m["b"].Apply(p.now, bye))
		p.wait(after - 400*time.Millisecond)
		p.do("a", p.m["a"].Stop(p.now, func(_, _ string) time.Duration { return 9 * time.Second }))
		delete(p.m, "a")
		p.tickB(time.Second)
		if got, _ := p.m["b"].Count("r"); got != 1 {
			t.Errorf("stopped %v after the goodbye: got %d users, want 1", after, got)
		}
	}
}

// A kept user leaves the count when its time is over, or the grace period of its goodbye.
func TestEndOfKept(t *testing.T) {
	for _, row := range []struct {
		kept, grace time.Duration
	}{{300 * time.Millisecond, 0}, {9 * time.Second, 300 * time.Millisecond}} {
		p := newPair(t, 0)
		p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
		p.wait(1600 * time.Millisecond)
		kept := union.Kept{Room: "r", Users: []uint64{1, 2}, Millis: []uint32{uint32(row.kept.Milliseconds()), 20_000}}
		p.do("b", p.m["b"].Apply(p.now, kept))
		if row.grace > 0 {
			p.do("b", p.m["b"].Apply(p.now, union.Goodbye{Room: "r", Grace: row.grace, Users: []uint64{1}}))
		}
		p.wait(250 * time.Millisecond)
		p.want("before the end", 0, 2)
		p.wait(100 * time.Millisecond)
		p.want("at the end", 0, 1)
	}
}

// The time of a kept user does not grow when one node after the other repeats it.
func TestKeptTime(t *testing.T) {
	p := newPair(t, 0)
	p.do("a", p.m["a"].Apply(p.now, union.Kept{Room: "r", Users: []uint64{1}, Millis: []uint32{4_000}}))
	p.wait(100 * time.Millisecond)
	p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
	p.want("it is kept", 0, 1)
	p.wait(2 * time.Second)
	p.do("a", p.m["a"].Open(p.now, "r", nil, 0))
	p.want("on both nodes", 1, 1)
	p.wait(2400 * time.Millisecond)
	p.want("the time is over", 0, 0)
}

// A kept user that joins on a node whose set is not known yet is not kept any more.
func TestReturnWhileLoading(t *testing.T) {
	p := newPair(t, 0)
	p.do("a", p.m["a"].Open(p.now, "r", ids(1), 0))
	p.local("a", nil, []string{"client-1"}, 0)
	kept := union.Kept{Room: "r", Users: []uint64{union.Hash(nil, "client-2")}, Millis: []uint32{9_000}}
	p.do("a", p.m["a"].Apply(p.now, kept))
	p.do("b", p.m["b"].Apply(p.now, kept))
	p.lose = func(m union.Message) bool { _, ok := m.(union.Sync); return ok }
	p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
	p.local("a", nil, []string{"client-2"}, 0)
	p.lose = func(union.Message) bool { return false }
	p.wait(2 * time.Second)
	p.want("it is back", 3, 3)
	p.local("a", []string{"client-2"}, nil, 0)
	p.want("and gone", 2, 2)
}

// A user that has joined since the room was opened is not kept, even if a node says so that does not know it yet.
func TestLateRepetition(t *testing.T) {
	p := newPair(t, 0)
	p.do("a", p.m["a"].Open(p.now, "r", ids(1), 0))
	p.lose = func(m union.Message) bool { _, ok := m.(union.Sync); return ok }
	p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
	p.local("a", nil, []string{"client-2"}, 0)
	p.do("b", p.m["b"].Apply(p.now, union.Kept{Room: "r", Repeat: true, Users: []uint64{union.Hash(nil, "client-2")}, Millis: []uint32{9_000}}))
	p.lose = func(union.Message) bool { return false }
	p.wait(2 * time.Second)
	p.want("it has joined", 2, 2)
	p.local("a", []string{"client-2"}, nil, 0)
	p.want("and left", 1, 1)
}

// A kept user that joins on another node, or has joined there already, is not kept any more on any node.
func TestReturn(t *testing.T) {
	p := newPair(t, 0)
	p.open()
	p.local("b", nil, []string{"client-stays"}, 0)
	for _, name := range []string{"a", "b"} {
		p.do(name, p.m[name].Apply(p.now, union.Kept{
			Room: "r", Users: []uint64{union.Hash(nil, "client-0"), union.Hash(nil, "client-stays"), 3}, Millis: []uint32{9_000, 9_000, 9_000},
		}))
	}
	p.wait(200 * time.Millisecond)
	p.want("three are kept, of which one is there", 3, 3)
	p.start("c", 1000, 0)
	p.wait(time.Second)
	p.do("c", p.m["c"].Open(p.now, "r", nil, 0))
	if got, _ := p.m["c"].Count("r"); got != 3 {
		t.Errorf("a node that started later: got %d users, want 3", got)
	}
	p.local("a", nil, []string{"client-0"}, 0)
	p.local("a", []string{"client-0"}, nil, 0)
	p.want("one came and left", 2, 2)
	p.local("b", []string{"client-stays"}, nil, 0)
	p.want("the one with a stream has left", 1, 1)
	p.wait(10 * time.Second)
	p.want("the time is over", 0, 0)
}

// A renewal that arrives at another node after the goodbye makes no new user there. If the user has come back elsewhere,
// it reaches that node.
func TestRenewalAfterGoodbye(t *testing.T) {
	p := newPair(t, 0)
	p.do("b", p.m["b"].Open(p.now, "r", nil, 0))
	p.do("a", p.m["a"].Open(p.now, "r", ids(1), 0))
	renew := func(what string, unknown int, gone bool) {
		t.Helper()
		sent[union.Renew](p)
		e, list := p.m["b"].Renew(p.now, "r", ids(1))
		p.do("b", e)
		if got := p.m["b"].Gone("r", ids(1)[0]); len(list) != unknown || got != gone || sent[union.Renew](p) != 1-unknown {
			t.Errorf("%s: got %q unknown, gone %v, want %d, %v, and a renewal where it is known", what, list, got, unknown, gone)
		}
	}
	p.do("a", p.m["a"].Leave(p.now, "r", ids(1), time.Second))
	p.local("a", ids(1), nil, 0)
	p.want("after the goodbye", 0, 0)
	renew("right after the goodbye", 1, true)
	p.local("a", nil, ids(1), 0)
	renew("after the return", 0, true)
	p.local("a", ids(1), nil, 0)
	p.wait(3 * time.Second)
	renew("3 s after the goodbye", 1, false)
}
