package cluster

import (
	"slices"
	"time"

	"headcount/internal/presence"
)

const (
	givenTime = time.Minute // how long it is remembered who was given up
	passTime  = time.Second // how long the next node may take to say that it has who was new here
)

// giveUp answers the claim of another node, also when it comes again because the
// answer was lost.
func (n *Node) giveUp(a ask) answer {
	r := n.room(a.Room)
	if r == nil {
		return answer{}
	}
	g, left := r.tally.give(a, time.Now())
	for _, s := range left {
		s.Left()
	}
	if g.counted {
		r.tally.changed(lag)
		n.local.Recount(r.name)
	}
	return answer{Node: n.Name(), Had: g.counted, Entry: g.entry, Version: g.version, Heir: r.tally.heir()}
}

// gift is a user that was given up.
type gift struct {
	counted bool   // it was here
	entry   string // that it was in, "" if it was in none that was said
	version uint64 // of the last entry that was said
	time    time.Time
}

// give gives a user up.
func (t *tally) give(a ask, now time.Time) (g gift, left []presence.Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g, ok := t.given[a.Nonce]; ok {
		return g, nil
	}
	if a.Late {
		return gift{}, nil
	}
	if g.counted, left = t.node.table.Drop(t.room.name, a.Claim); g.counted {
		i := slices.Index(t.joined, a.Claim)
		if i >= 0 {
			t.joined = slices.Delete(t.joined, i, i+1)
		}
		if i >= 0 && !slices.Contains(t.retold, a.Claim) {
			t.pass(a.Claim) // nobody else has been told that it was here
		} else {
			g.entry = t.mine.ID
			t.mine.Out[a.By]++
		}
		g.version, g.time = t.mine.Version, now
		if t.given == nil {
			t.given = make(map[string]gift)
		}
		t.given[a.Nonce] = g
	}
	return g, left
}

// pass counts a user that was given up here, too, until its new node says that it has it:
// the readers of this node have been told that it is there. t.mu is held.
func (t *tally) pass(id string) {
	if t.passing == nil {
		t.passing = make(map[string]time.Time)
	}
	at := time.Now()
	t.passing[id] = at
	time.AfterFunc(passTime, func() {
		t.mu.Lock()
		late := t.passing[id].Equal(at)
		if late {
			delete(t.passing, id) // it has left before its new node said anything
		}
		t.mu.Unlock()
		if late {
			t.node.local.Recount(t.room.name)
		}
	})
}

// passed says that users are not on their way any more.
func (t *tally) passed(ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		delete(t.passing, id)
	}
}
