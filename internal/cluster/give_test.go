package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// told says that the others have been told of the client id.
func told(t *tally, id string) bool {
	return slices.ContainsFunc(t.told, func(j joins) bool { return slices.Contains(j.ids, id) })
}

// A user that goes on before the others were told of it is in no entry, and is shown to the readers of its old node until
// the new one says that it is there.
func TestPass(t *testing.T) {
	n, _ := newAlone(t)
	v := &n.room("lobby").tally
	comes := func(id string) {
		v.arrive(claim{id: id}, func() { n.table.Open("lobby", id, quiet{}) })
	}
	comes("client-new1")
	comes("client-new2")
	for i, id := range []string{"client-new1", "client-new2"} {
		if a := n.giveUp(ask{Room: "lobby", Claim: id, By: "next-0-1", Nonce: id}); !a.Had || a.Entry != "" {
			t.Errorf("got %+v, want it given, and no entry", a)
		}
		if got := v.total(); got != 4 {
			t.Errorf("%d on their way: got %d users, want 4", i+1, got)
		}
	}
	if got := v.populated(); got != 1 {
		t.Errorf("somebody has them: got %d other nodes to ask for them, want 1", got)
	}
	n.peers.Store(&map[string]struct{}{"next-0": {}})
	v.hear("next-0", entry{ID: "next-0-1", Version: 1, Users: 1, Joined: []string{"client-new1"}})
	if got := v.total(); got != 4 {
		t.Errorf("one has come: got %d users, want 4", got)
	}
	comes("client-new2")
	if got := v.total(); got != 4 {
		t.Errorf("the other is back: got %d users, want 4", got)
	}
	for where, leave := range map[string]func(ids []string){
		"here": func(ids []string) { n.Leave("lobby", ids) },
		"elsewhere": func(ids []string) {
			n.onShout(n.room("lobby"), &nats.Msg{Data: encode(shout{Leave: ids})})
		},
	} {
		comes("client-new2")
		n.giveUp(ask{Room: "lobby", Claim: "client-new2", By: "next-0-1", Nonce: where})
		leave([]string{"client-new2"})
		if got := v.total(); got != 3 {
			t.Errorf("the other has said goodbye %s: got %d users, want 3", where, got)
		}
	}
}

// The node that has just taken a user from here may be asked for it, though it has said nothing yet; a dead one may not.
func TestPopulated(t *testing.T) {
	n, _ := newAlone(t)
	n.peers.Store(&map[string]struct{}{"next-0": {}})
	n.giveUp(ask{Room: "lobby", Claim: "client-0001", By: "next-0-1"})
	v := &n.room("lobby").tally
	if got := v.populated(); got != 1 {
		t.Errorf("got %d other nodes, want the one that took client-0001", got)
	}
	n.peers.Store(&map[string]struct{}{})
	if got := v.populated(); got != 0 {
		t.Errorf("it is dead: got %d other nodes, want none", got)
	}
}

// Whom the others were told of before is in the entry, also while they are to be told once more: as of somebody who has
// come back here, or whom this node has inherited.
func TestGiveRetold(t *testing.T) {
	const id = "client-old1"
	comes := func(n *Node) {
		n.room("lobby").tally.arrive(claim{id: id}, func() { n.table.Open("lobby", id, quiet{}) })
	}
	for _, row := range []struct {
		name string
		told func(n *Node, v *tally)
	}{
		{"repeated", func(n *Node, v *tally) {
			comes(n)
			v.say()
			if !told(v, id) {
				t.Fatalf("told: got %v, want %s in it", v.told, id)
			}
			v.repeat()
		}},
		{"back", func(n *Node, v *tally) {
			comes(n)
			v.say()
			comes(n)
		}},
		{"inherited", func(n *Node, v *tally) {
			n.table.Renew("lobby", id, time.Now().Add(time.Hour))
			v.say()
			comes(n)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			n, _ := newAlone(t)
			v := &n.room("lobby").tally
			v.hear("next-0", entry{ID: "next-0-1", Version: 1, Users: 1})
			row.told(n, v)
			if a := n.giveUp(ask{Room: "lobby", Claim: id, By: "next-0-1"}); a.Entry != v.id() || a.Version == 0 {
				t.Errorf("got %+v, want the entry that it was in, and its version", a)
			}
		})
	}
}

// Who comes again to the node that counts it, as with each poll, is no news to the others.
func TestNoNews(t *testing.T) {
	n, _ := newAlone(t)
	v := &n.room("lobby").tally
	v.hear("next-0", entry{ID: "next-0-1", Version: 1, Users: 1})
	v.say()
	said := n.versions.Load()
	v.arrive(claim{id: "client-0001"}, func() { n.table.Open("lobby", "client-0001", quiet{}) })
	if v.say(); n.versions.Load() != said {
		t.Error("the others are told of one whom they know of")
	}
}

// Who was new elsewhere is named also by a node that knows of no other: that one waits for it. So is who turns out to have
// been new when a claim is answered late.
func TestAwaited(t *testing.T) {
	for _, row := range []struct {
		name  string
		claim claim
		here  bool // another stream of it has been faster
		late  bool
	}{
		{name: "answered", claim: claim{id: "client-new1", tag: "last", sure: true, fresh: true}},
		{name: "here already", claim: claim{id: "client-new1", tag: "last", sure: true, fresh: true}, here: true},
		{name: "answered late", claim: claim{id: "client-new1", tag: "last", entry: "last-0-1"}, late: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			n, _ := newAlone(t)
			v := &n.room("lobby").tally
			row.claim.by = v.id()
			if row.here {
				n.table.Open("lobby", "client-new1", quiet{})
			}
			v.arrive(row.claim, func() { n.table.Open("lobby", "client-new1", quiet{}) })
			if row.late {
				v.settle(row.claim, answer{Had: true})
			}
			v.say()
			if !told(v, "client-new1") {
				t.Errorf("told: got %v, want client-new1 in it", v.told)
			}
			if len(v.mine.In) > 0 {
				t.Errorf("in: got %v, want nobody from an entry", v.mine.In)
			}
		})
	}
}

// What was said before the answer to a claim is heard before the user is counted: it would be taken for news of it.
func TestHearUp(t *testing.T) {
	const many = 1000
	n, _ := newAlone(t)
	r := n.room("lobby")
	said := func(version uint64) entry {
		return entry{ID: "last-0-1", Room: "lobby", Version: version, Users: 1}
	}
	for v := range uint64(many) {
		n.inbox <- &nats.Msg{Subject: n.names.count(r.token, "last-0"), Data: encode(said(v + 1))}
	}
	go n.receive(t.Context())
	n.hearUp(t.Context(), r, answer{})
	if got := r.tally.lastOf("last").Version; got != many {
		t.Errorf("heard up to %d of what had come, want %d", got, many)
	}
	go func() { // is on its way
		for v := range uint64(many) {
			r.tally.hear("last-0", said(many+v+1))
		}
	}()
	n.hearUp(t.Context(), r, answer{Node: "last-0", Version: 2 * many})
	if got := r.tally.lastOf("last").Version; got != 2*many {
		t.Errorf("heard up to %d, want %d, which the answer named", got, 2*many)
	}
}
