package cluster

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"headcount/internal/hub"
)

const (
	claimTime = 250 * time.Millisecond // how long a node may take to answer
	shoutTime = 250 * time.Millisecond // how long all may take
)

// claim is that a user is here now, and not on another node any more.
type claim struct {
	id    string // of the client
	tag   string // of the node that it was on
	by    string // this node's entry
	nonce string
	entry string // that the user was in, "" if it was in none
	sure  bool   // the node has said so
	fresh bool   // nobody but that node's own readers had been told that the user was there
	late  bool   // the user has left again
	time  time.Time
}

// Arrive prepares for a reader of the room, with the client id, or "", and the cursor
// that it came with: it waits until the room is loaded, but not for long, and claims
// the user where the cursor says that it was. count is called to count it, at the
// moment from which on it is not counted there.
func (n *Node) Arrive(ctx context.Context, name, id, cursor string, count func()) error {
	at, ok := hub.ParseCursor(cursor)
	epoch, seq, node := at.Epoch, at.Seq, at.Node
	// Emitted a moment ago, on another node: this one is about to hear of it.
	ahead := ok && epoch != "" && epoch == n.Epoch() && seq > n.hub.Tip()
	unknown := ahead && !n.tell(ctx, seq)
	r := n.room(name)
	if r == nil {
		return errors.New("room is not open")
	}
	r.wait(ctx)
	if unknown {
		r.feed.hub.Expect(seq)
	}
	c := claim{id: id}
	if id != "" && node != n.tag && len(node) == len(n.tag) {
		c = n.claim(ctx, r, id, node)
	}
	r.tally.arrive(c, count)
	return nil
}

// tell reports whether it can be told by now if the stream has got as far as seq.
func (n *Node) tell(ctx context.Context, seq uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	err := n.look(ctx)
	if err == nil && seq > n.hub.Tip() {
		// Who says so may be a server that is cut off from the others: it can answer,
		// and store nothing.
		_, err = n.js.PublishMsg(ctx, n.sign())
	}
	if err != nil {
		n.log.Debug("cursor may be ahead", "error", err)
	}
	return err == nil
}

// look asks where the stream is now.
func (n *Node) look(ctx context.Context) error {
	s := n.streams.Load()
	if s == nil || !n.nc.IsConnected() {
		return errAway
	}
	info, err := s.events.Info(ctx)
	if err == nil && n.epochOf(info) == n.Epoch() {
		n.hub.Advance(info.State.LastSeq)
	}
	return err
}

// arrive counts a user, with the entry that it came from if there is one.
func (t *tally) arrive(c claim, count func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	here := c.id != "" && t.node.table.Has(t.room.name, c.id)
	if here && !c.sure {
		c.entry = "" // its node has handed it over to this one
	}
	came := c.entry != "" && c.by == t.mine.ID
	if came {
		t.mine.In[c.entry]++
	} else if c.id != "" && (!here || c.fresh) { // who is here already, as between two polls, is no news
		t.joined = append(t.joined, c.id)
		t.awaited = t.awaited || c.fresh
	}
	delete(t.passing, c.id)
	if c.tag != "" && c.by == t.mine.ID && !c.sure {
		t.unsure = append(t.unsure, c)
	}
	count()
}

// claim asks the node of that tag to give a user up. A node that does not answer had
// it, as far as one can tell: it says that it has users, and this one was among them.
func (n *Node) claim(ctx context.Context, r *room, id, tag string) claim {
	c := claim{id: id, by: r.tally.id(), nonce: rand.Text(), time: time.Now()}
	var said answer
	// Its node may stop and hand it over while it is being asked.
	for heir := r.tally.heirOf(tag); heir != c.tag; heir = r.tally.heirOf(tag) {
		if c.tag = heir; heir == n.tag {
			c.sure = true
			break
		}
		name := n.peer(heir)
		if name == "" || n.silent(name) {
			continue
		}
		a, err := n.ask(ctx, r, name, c)
		if err == nil {
			c.sure, c.entry, c.fresh = true, a.Entry, a.Had && a.Entry == ""
			said = a
			break
		}
	}
	n.hearUp(ctx, r, said)
	switch {
	case !c.sure:
		c.entry = r.tally.entryOf(c.tag)
	case c.entry == "" && c.tag != tag && !n.table.Has(r.name, id):
		c.entry = r.tally.entryOf(tag) // not everybody was handed over
	}
	return c
}

// ask claims a user of a node.
func (n *Node) ask(ctx context.Context, r *room, name string, c claim) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	m, err := n.nc.RequestWithContext(ctx, n.names.direct(tagOf(name)), encode(ask{
		To: name, Room: r.name, Claim: c.id, By: c.by, Nonce: c.nonce, Late: c.late,
	}))
	if err != nil {
		return answer{}, err
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return answer{}, err
	}
	if !a.Had && a.Heir != "" && a.Heir != tagOf(name) {
		if heir := n.peer(a.Heir); heir != "" {
			return n.ask(ctx, r, heir, c)
		}
	}
	return a, nil
}

// hearUp waits until this node has heard all that was said before it got the answer to a
// claim, or none, but not for long. What is heard of a user once it is here is taken for
// news of it.
func (n *Node) hearUp(ctx context.Context, r *room, a answer) {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	handled := make(chan struct{})
	mark := &nats.Msg{}
	n.marks.Store(mark, handled)
	select {
	case n.inbox <- mark:
	case <-ctx.Done():
		n.marks.Delete(mark)
		return
	}
	select {
	case <-handled:
	case <-ctx.Done():
		return
	}
	r.tally.hearUp(ctx, a.Node, a.Version)
}

// hearUp waits until the entry of a node is heard of that version.
func (t *tally) hearUp(ctx context.Context, name string, version uint64) {
	for {
		t.mu.Lock()
		if t.closed || t.others[name].Version >= version {
			t.mu.Unlock()
			return
		}
		if t.entries == nil {
			t.entries = make(chan struct{})
		}
		more := t.entries
		t.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

func (t *tally) id() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mine.ID
}

// entryOf returns the last entry of the process with that tag if it has users. It may
// be dead: where that is not known yet, its users are still counted.
func (t *tally) entryOf(tag string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.lastOf(tag)
	if last.Closed || last.Users == 0 {
		return ""
	}
	return last.ID
}

// lastOf returns the last entry of the process with that tag; t.mu is held.
func (t *tally) lastOf(tag string) entry {
	var last entry
	for name, e := range t.others {
		if tagOf(name) == tag && e.Version > last.Version {
			last = e
		}
	}
	return last
}

// chase repeats the claims that were not answered, and asks for users that were
// yielded whether they are still where they went.
func (n *Node) chase(ctx context.Context) {
	dead := n.longDead()
	for _, r := range n.open() {
		r.tally.forget(dead)
		unsure, yielded := r.tally.open()
		for _, c := range unsure {
			again := c
			again.tag = r.tally.heirOf(c.tag)
			name := n.peer(again.tag)
			if name == "" || n.silent(name) {
				continue // it will be taken for dead, or speak up
			}
			again.late = !n.table.Has(r.name, c.id) // it may well be there again, and stay
			if a, err := n.ask(ctx, r, name, again); err == nil {
				r.tally.settle(c, a)
				n.local.Recount(r.name)
				r.tally.changed(0)
			}
		}
		for name, all := range yielded {
			for ids := range slices.Chunk(all, most) {
				if n.retake(ctx, r, name, ids) {
					n.local.Recount(r.name)
					r.tally.changed(0)
				}
			}
		}
	}
}

// remembered is how long the entries of a dead node are kept.
const remembered = 15 * time.Second

// longDead returns whether a node that is not alive has been dead for long. Of those
// that this node forgot while it was away itself, nobody knows.
func (n *Node) longDead() func(string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	young := make(map[string]bool)
	for name, at := range n.dead {
		if time.Since(at) < remembered {
			young[name] = true
		}
	}
	return func(name string) bool { return !young[name] }
}

// open returns the claims without an answer, and the yielded ids by who took them.
func (t *tally) open() (unsure []claim, yielded map[string][]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.given, func(_ string, g gift) bool { return time.Since(g.time) >= givenTime })
	t.unsure = slices.DeleteFunc(t.unsure, func(c claim) bool {
		return time.Since(c.time) >= givenTime || time.Since(c.time) >= remembered && t.node.peer(c.tag) == ""
	})
	maps.DeleteFunc(t.yielded, func(id, _ string) bool {
		return !t.node.table.Knows(t.room.name, id) || t.node.table.Has(t.room.name, id)
	})
	if len(t.yielded) > 0 {
		yielded = make(map[string][]string)
		for id, name := range t.yielded {
			yielded[name] = append(yielded[name], id)
		}
	}
	return slices.Clone(t.unsure), yielded
}

// settle takes the answer to a claim that was taken for granted.
func (t *tally) settle(c claim, a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.unsure, c)
	if i < 0 {
		return
	}
	t.unsure = slices.Delete(t.unsure, i, i+1)
	if a.Had && a.Entry == "" {
		t.joined, t.awaited = append(t.joined, c.id), true
	}
	if a.Entry == c.entry {
		return // as it was taken to be
	}
	// The node had given the user up by itself, or has come back under a new name, or
	// had not said yet that it had the user.
	if t.mine.In[c.entry] > 0 {
		if t.mine.In[c.entry]--; t.mine.In[c.entry] == 0 {
			delete(t.mine.In, c.entry)
		}
	}
	if a.Entry != "" {
		t.mine.In[a.Entry]++
	}
}

// retake counts those again who have streams here and are not counted any more where
// they went.
func (n *Node) retake(ctx context.Context, r *room, name string, ids []string) bool {
	var has []string
	if n.alive(name) {
		ctx, cancel := context.WithTimeout(ctx, claimTime)
		defer cancel()
		m, err := n.nc.RequestWithContext(ctx, n.names.direct(tagOf(name)), encode(ask{Room: r.name, Has: ids, By: n.Name()}))
		if err != nil {
			return false
		}
		var a answer
		if json.Unmarshal(m.Data, &a) != nil {
			return false
		}
		has = a.IDs
	}
	t := &r.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	took := false
	for _, id := range ids {
		if !slices.Contains(has, id) {
			delete(t.yielded, id)
			took = n.table.Take(r.name, id) || took
		}
	}
	return took
}

// retakes counts a user again that was yielded to the node that asks for it, and has
// yielded it, too: both heard at once that it had joined at the other. Of the two, the
// node with the later name has it then. It reports whether that is this one.
func (n *Node) retakes(room, id, by string) bool {
	r := n.room(room)
	if r == nil || by == "" || n.Name() < by {
		return false
	}
	t := &r.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.yielded[id] != by {
		return false
	}
	delete(t.yielded, id)
	return n.table.Take(room, id)
}

// comeBack says who is here, after the others took this node for dead, once it is
// known who has gone elsewhere meanwhile.
func (r *room) comeBack(ctx context.Context) {
	n, t := r.node, &r.tally
	id := t.id()
	if err := r.readCounts(ctx); err != nil {
		n.log.Debug("room was not read", "room", r.name, "error", err)
	}
	// Of many rooms, a few at once: all nodes of a room look for all its users. It may
	// take so long that the node has died and come back again meanwhile.
	done, err := slot(ctx, n.rolls)
	if err != nil {
		return
	}
	defer done()
	if t.id() != id {
		return
	}
	if others := t.populated(); others > 0 {
		for ids := range slices.Chunk(n.table.Named(r.name), 1000) {
			for _, a := range n.shout(ctx, r, shout{Node: n.Name(), Roll: ids}, others, nil) {
				t.mu.Lock()
				for _, id := range a.IDs {
					if _, open := n.table.Yield(r.name, id); open {
						if t.yielded == nil {
							t.yielded = make(map[string]string)
						}
						t.yielded[id] = a.Node
					}
				}
				t.mu.Unlock()
			}
		}
	}
	t.mu.Lock()
	t.mute = false
	t.mu.Unlock()
	t.again()
	n.local.Recount(r.name)
}
