package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestSum(t *testing.T) {
	moves := func(pairs ...any) map[string]int {
		m := make(map[string]int)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1].(int)
		}
		return m
	}
	alive := func(node string) bool { return node == "late-0" }
	for _, row := range []struct {
		name    string
		entries []entry
		want    int
	}{
		{"nobody", nil, 0},
		{"two nodes", []entry{{ID: "a-0-1", Users: 3}, {ID: "b-0-1", Users: 4}}, 7},
		{"come, not gone yet", []entry{{ID: "a-0-1", Users: 3}, {ID: "b-0-1", Users: 5, In: moves("a-0-1", 1)}}, 7},
		{"gone, not come yet", []entry{{ID: "a-0-1", Users: 2, Out: moves("b-0-1", 1)}, {ID: "b-0-1", Users: 4}}, 7},
		{"gone and come", []entry{{ID: "a-0-1", Users: 2, Out: moves("b-0-1", 1)}, {ID: "b-0-1", Users: 5, In: moves("a-0-1", 1)}}, 7},
		{"there and back", []entry{
			{ID: "a-0-1", Users: 3, Out: moves("b-0-1", 1), In: moves("b-0-1", 1)},
			{ID: "b-0-1", Users: 4, In: moves("a-0-1", 1), Out: moves("a-0-1", 1)},
		}, 7},
		{"from a node that is dead", []entry{{ID: "b-0-1", Users: 5, In: moves("a-0-1", 1)}}, 5},
		{"to a node that is dead", []entry{{ID: "a-0-1", Users: 2, Out: moves("b-0-1", 1)}}, 2},
		{"to a node that has said nothing yet", []entry{{ID: "a-0-1", Users: 2, Out: moves("late-0-9", 1)}}, 3},
		{"to an entry before the one there is", []entry{{ID: "a-0-1", Users: 2, Out: moves("late-0-9", 1)}, {ID: "late-0-12", Users: 1}}, 3},
		{"from an entry before the one there is", []entry{{ID: "a-0-2", Users: 2}, {ID: "b-0-1", Users: 1, In: moves("a-0-1", 1)}}, 3},
		{"closed", []entry{{ID: "a-0-1", Users: 2, Out: moves("b-0-1", 1)}, {ID: "b-0-1", Closed: true}}, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := sum(row.entries, alive); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

// What nodes have said is kept for a while after they died, since their users are still coming and others may not know yet;
// and for three writings where nobody has heard that they died.
func TestForgetsNodes(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		name   string
		alive  bool
		dead   time.Duration // since when it is, 0 = this node does not know
		silent time.Duration // since it said something of the room
		want   bool          // that is kept
	}{
		{"alive", true, 0, 2 * time.Minute, true},
		{"alive, and has not said it again", true, 0, 4 * time.Minute, false},
		{"just dead", false, 5 * time.Second, time.Minute, true},
		{"dead for long", false, 20 * time.Second, time.Minute, false},
		{"dead for long, but its entry has just been read", false, 20 * time.Second, time.Second, true},
		{"forgotten while this node was away, just now", false, 0, time.Second, true},
		{"forgotten while this node was away", false, 0, time.Minute, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			n, _ := newAlone(t)
			if row.alive {
				n.onBeat("beefbeef-0", now)
			}
			n.onCount(token("lobby"), "beefbeef-0", []byte(`{"id":"beefbeef-0-1","room":"lobby","version":1,"users":3}`))
			if row.dead > 0 {
				n.dead["beefbeef-0"] = now.Add(-row.dead)
			}
			said := n.room("lobby").tally.others["beefbeef-0"]
			said.heard = now.Add(-row.silent)
			n.room("lobby").tally.others["beefbeef-0"] = said
			n.chase(t.Context())
			if got := n.room("lobby").tally.knows("beefbeef-0"); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

// Claims that are too old to be repeated are forgotten, on both sides.
func TestForgetsClaims(t *testing.T) {
	n, _ := newAlone(t)
	tally := &n.room("lobby").tally
	now := time.Now()
	n.onBeat("beefbeef-0", now)
	tally.unsure = []claim{
		{id: "client-0001", tag: "beefbeef", time: now.Add(-30 * time.Second)},
		{id: "client-0002", tag: "beefbeef", time: now.Add(-2 * time.Minute)},
		{id: "client-0003", tag: "deadbeef", time: now.Add(-30 * time.Second)}, // of a node that is dead
		{id: "client-0004", tag: "deadbeef", time: now},
	}
	tally.given = map[string]gift{"young": {time: now}, "old": {time: now.Add(-2 * time.Minute)}}
	n.chase(t.Context())
	var left []string
	for _, c := range tally.unsure {
		left = append(left, c.id)
	}
	if want := []string{"client-0001", "client-0004"}; !slices.Equal(left, want) {
		t.Errorf("claims to be repeated: got %v, want %v", left, want)
	}
	if _, ok := tally.given["young"]; len(tally.given) != 1 || !ok {
		t.Errorf("answers to be repeated: got %v, want the young one", tally.given)
	}
}

// What a node said before it died, before its last entry, of another room, or what comes back to the node that said it,
// takes nobody from here.
func TestEntriesThatDoNotCount(t *testing.T) {
	const joined = `"users":1,"joined":["client-0001"]}`
	for _, row := range []struct {
		name, node, entry string
		want              int // users of this node, which had two
	}{
		{"good", "beefbeef-0", `{"id":"beefbeef-0-1","room":"lobby","version":5,` + joined, 1},
		{"older than the last", "beefbeef-0", `{"id":"beefbeef-0-1","room":"lobby","version":3,` + joined, 2},
		{"of another room", "beefbeef-0", `{"id":"beefbeef-0-1","room":"lounge","version":5,` + joined, 2},
		{"of a dead node", "deadbeef-0", `{"id":"deadbeef-0-1","room":"lobby","version":5,` + joined, 2},
		{"of this node", "", `{"id":"x-0-1","room":"lobby","version":5,` + joined, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			n, _ := newAlone(t)
			n.dead["deadbeef-0"] = time.Now()
			n.onCount(token("lobby"), "beefbeef-0", []byte(`{"id":"beefbeef-0-1","room":"lobby","version":4,"users":1}`))
			if row.node == "" {
				row.node = n.tag + "-7"
			}
			n.onCount(token("lobby"), row.node, []byte(row.entry))
			if got := n.table.Count("lobby"); got != row.want {
				t.Errorf("got %d users, want %d", got, row.want)
			}
		})
	}
}

// Who came from an entry or went to it is forgotten with it: the node has opened the room anew, or has closed it.
func TestForgetsMoves(t *testing.T) {
	for _, row := range []struct{ name, entry string }{
		{"opened anew", `{"id":"beefbeef-0-2","room":"lobby","version":2,"users":1}`},
		{"closed", `{"id":"beefbeef-0-1","room":"lobby","version":2,"closed":true}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			n, _ := newAlone(t)
			r := n.room("lobby")
			n.onCount(token("lobby"), "beefbeef-0", []byte(`{"id":"beefbeef-0-1","room":"lobby","version":1,"users":1}`))
			n.giveUp(ask{Room: "lobby", Claim: "client-0001", By: "beefbeef-0-1", Nonce: "nonce"})
			r.tally.mine.In["beefbeef-0-1"] = 1
			r.tally.unsure = []claim{{id: "client-0002", entry: "beefbeef-0-1"}}
			n.onCount(token("lobby"), "beefbeef-0", []byte(row.entry))
			if in, out, unsure := r.tally.mine.In, r.tally.mine.Out, r.tally.unsure; len(in)+len(out)+len(unsure) > 0 {
				t.Errorf("got users from %v, to %v, and claims %v, want none", in, out, unsure)
			}
		})
	}
}

// Before a node hands its users over it looks at what has come by then: whoever has said goodbye is not handed over.
func TestHandsOverLast(t *testing.T) {
	n, _ := newAlone(t)
	n.inbox <- &nats.Msg{Subject: n.names.live(token("lobby")), Data: encode(shout{Leave: []string{"client-0001"}})}
	n.handOver()
	if n.table.Has("lobby", "client-0001") {
		t.Error("one who has said goodbye is still counted")
	}
}

// A node was heard of when that was last, in whatever order one hears of it; what comes back to a node that it has said
// itself, under a name that it had before, is no other node.
func TestOnBeat(t *testing.T) {
	n, _ := newAlone(t)
	now := time.Now()
	n.onBeat("beefbeef-0", now)
	n.onBeat("beefbeef-0", now.Add(-3*time.Second)) // as it was read
	n.onBeat(n.tag+"-7", now)
	if got := n.Nodes(); len(got) != 2 || got["beefbeef-0"] > 2*time.Second {
		t.Errorf("got nodes %v, want this one and another that was just heard of", got)
	}
}

// The count is never less than who is here, whatever the others say of those who came from them.
func TestAtLeastHere(t *testing.T) {
	n, _ := newAlone(t)
	n.onBeat("beefbeef-0", time.Now())
	n.onCount(token("lobby"), "beefbeef-0", []byte(`{"id":"beefbeef-0-1","room":"lobby","version":1}`))
	n.room("lobby").tally.mine.In["beefbeef-0-1"] = 1
	if got, _ := n.Total("lobby"); got != 2 {
		t.Errorf("got %d, want the 2 who are here", got)
	}
}

// Of a process that has come back under a new name the last entry counts, and a node that is not alive has no users.
func TestLastEntryOfProcess(t *testing.T) {
	n, _ := newAlone(t)
	v := &n.room("lobby").tally
	n.onBeat("beefbeef-1", time.Now())
	n.onCount(token("lobby"), "beefbeef-0", []byte(`{"id":"beefbeef-0-1","room":"lobby","version":1,"users":3}`))
	n.onCount(token("lobby"), "beefbeef-1", []byte(`{"id":"beefbeef-1-2","room":"lobby","version":2}`))
	for range 20 { // in whatever order they are looked at
		if got := v.entryOf("beefbeef"); got != "" {
			t.Fatalf("got %s, want none: its last entry has no users", got)
		}
	}
	if got := v.populated(); got != 0 {
		t.Errorf("got %d nodes with users, want none", got)
	}
}
