package cluster

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// pace is how often a node says at most how many users a room has there.
	pace = 100 * time.Millisecond
	// lag is how long a node that users have left waits before it says so: the one
	// that they went to should be heard first.
	lag = 30 * time.Millisecond
	// most is how many ids one entry names: 64 bytes each, they must fit a message.
	most = 2000
)

// tally is the users of one room, here and elsewhere.
type tally struct {
	node *Node
	room *room

	saying sync.Mutex // held while an entry goes out: they go out in their order

	mu      sync.Mutex
	mine    entry // what this node says of itself, but for Users
	said    entry // as it was said last; Version 0: to be said again
	saidAt  time.Time
	others  map[string]entry     // by the name of the node
	yielded map[string]string    // by client id: the node that counts it, while it has streams here
	joined  []string             // ids that the others are to be told
	retold  []string             // those of them who were told of before
	awaited bool                 // also if no other has users here: one shows some of them to its readers
	entries chan struct{}        // closed with the next entry that is heard; nil if nobody waits
	passing map[string]time.Time // ids that went to another node before anybody was told of them: since when
	told    []joins              // who was told of a moment ago, oldest first: it may be lost
	unsure  []claim              // of nodes that have not answered
	given   map[string]gift      // by the nonce of the claim: whom others took, not long ago
	armed   bool                 // a timer will say it
	mute    bool                 // not to be said yet: it is not known who has gone
	waits   bool                 // likewise: the room of that name before this one has not said its last word
	closed  bool
}

// joins is client ids that others were told of.
type joins struct {
	ids  []string
	time time.Time
}

// reset starts an entry of that id.
func (t *tally) reset(id string) {
	t.mine = entry{ID: id, Room: t.room.name, In: map[string]int{}, Out: map[string]int{}}
	t.said, t.saidAt = entry{}, time.Time{}
	t.unsure, t.given = nil, nil
}

// begin starts an entry anew, under the node's new name.
func (t *tally) begin(id string, mute bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reset(id)
	t.mute = mute
}

// speak says that the room of that name before this one has said its last word.
func (t *tally) speak() {
	t.mu.Lock()
	t.waits = false
	t.mu.Unlock()
	t.changed(0)
}

// total returns how many users the room has, on all nodes that are alive.
func (t *tally) total() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	here := t.node.table.Count(t.room.name) + len(t.passing)
	if len(t.others) == 0 {
		return here
	}
	// Mostly nobody is on the way, and this is done for each entry that is heard.
	users, still := here, len(t.mine.In) == 0 && len(t.mine.Out) == 0
	peers := *t.node.peers.Load()
	for name, e := range t.others {
		if !still {
			break
		}
		if _, alive := peers[name]; alive && !e.Closed {
			users += e.Users
			still = len(e.In) == 0 && len(e.Out) == 0
		}
	}
	if still {
		return users
	}
	mine := t.mine
	mine.Users = here
	entries := []entry{mine}
	for name, e := range t.others {
		if _, alive := peers[name]; alive {
			entries = append(entries, e)
		}
	}
	return max(sum(entries, t.node.alive), here)
}

// sum adds the users of entries up. Of those who came from one of the entries to
// another, some are in both, and some in neither: the entries do not arrive together.
func sum(entries []entry, alive func(node string) bool) int {
	users := 0
	there := make(map[string]bool, len(entries))
	known := make(map[string]bool, len(entries))
	for _, e := range entries {
		known[nodeOf(e.ID)] = true
		if !e.Closed {
			there[e.ID] = true
		}
	}
	for _, e := range entries {
		if e.Closed {
			continue
		}
		users += e.Users
		for from, count := range e.In {
			if there[from] {
				users -= count
			}
		}
		for to, count := range e.Out {
			// Of a node that is alive and has said nothing yet, the entry is on its way.
			if node := nodeOf(to); there[to] || !known[node] && alive(node) {
				users += count
			}
		}
	}
	return users
}

// changed has this node's entry said if it has changed, not before after has passed
// and at most once in pace.
func (t *tally) changed(after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.armed || t.closed || t.mute || t.waits {
		return
	}
	t.armed = true
	time.AfterFunc(max(after, pace-time.Since(t.saidAt)), t.say)
}

// again has the entry said as if it had never been.
func (t *tally) again() {
	t.mu.Lock()
	t.said = entry{}
	t.mu.Unlock()
	t.changed(0)
}

// say publishes the entry. Nodes that have the room open hear it at once; the bucket
// keeps it for those that open it later.
func (t *tally) say() {
	n := t.node
	t.saying.Lock()
	defer t.saying.Unlock()
	t.mu.Lock()
	t.armed = false
	e := t.mine
	e.Users = n.table.Count(t.room.name)
	if t.closed || t.mute || t.waits || !t.news(e) {
		t.mu.Unlock()
		return
	}
	e.Version = n.versions.Add(1)
	e.In, e.Out = maps.Clone(e.In), maps.Clone(e.Out)
	if len(t.others) == 0 && !t.awaited {
		t.joined = nil // nobody to tell
	}
	t.joined = slices.DeleteFunc(t.joined, func(id string) bool { return !n.table.Has(t.room.name, id) })
	count := min(len(t.joined), most)
	e.Joined, t.joined = t.joined[:count:count], t.joined[count:]
	t.said, t.saidAt = e, time.Now()
	t.said.Joined = nil
	t.remember(e.Joined, t.saidAt)
	t.mine.Version = e.Version
	more := len(t.joined) > 0
	if !more {
		t.awaited, t.retold = false, nil
	}
	t.mu.Unlock()

	if !n.put(t.room.token, e) && n.nc.IsConnected() {
		t.unsaid()
	}
	if more {
		t.changed(0)
	}
}

// remember keeps whom others were told of for as long as a connection may be broken
// before that is noticed; t.mu is held.
func (t *tally) remember(ids []string, now time.Time) {
	t.told = slices.DeleteFunc(t.told, func(j joins) bool { return now.Sub(j.time) >= deadAfter })
	if len(ids) > 0 {
		t.told = append(t.told, joins{ids, now})
	}
}

// repeat has the entry said as if it had never been, with those who joined a moment ago:
// messages may be lost.
func (t *tally) repeat() {
	t.mu.Lock()
	t.remember(nil, time.Now())
	for _, j := range t.told {
		t.joined = append(t.joined, j.ids...)
		t.retold = append(t.retold, j.ids...)
	}
	t.told = nil
	t.mu.Unlock()
	t.again()
}

// news says that e is something else than what was said last; t.mu is held.
func (t *tally) news(e entry) bool {
	switch {
	case len(t.joined) > 0 && (len(t.others) > 0 || t.awaited):
		return true
	case !t.known(): // an entry without users need not exist
		return e.Users > 0 || len(e.In) > 0 || len(e.Out) > 0
	default:
		return t.said.Version == 0 || e.Users != t.said.Users || !maps.Equal(e.In, t.said.In) || !maps.Equal(e.Out, t.said.Out)
	}
}

// known says that others have heard of an entry; t.mu is held.
func (t *tally) known() bool { return t.mine.Version > 0 }

// unsaid says that what was said last is not in the bucket.
func (t *tally) unsaid() {
	t.mu.Lock()
	t.said = entry{}
	t.mu.Unlock()
	t.changed(time.Second)
}

// close takes the entry back.
func (t *tally) close() {
	t.saying.Lock()
	defer t.saying.Unlock()
	t.mu.Lock()
	known := t.known()
	e := entry{ID: t.mine.ID, Room: t.room.name, Closed: true}
	t.closed = true
	t.mu.Unlock()
	if known {
		e.Version = t.node.versions.Add(1)
		t.node.put(t.room.token, e)
	}
}

func (n *Node) put(token string, e entry) bool {
	if !n.nc.IsConnected() {
		return false // everything is said again when it is
	}
	_, err := n.js.PublishMsgAsync(&nats.Msg{Subject: n.names.count(token, nodeOf(e.ID)), Data: encode(e)})
	return err == nil
}

// unsaid hears that NATS did not keep a message.
func (n *Node) unsaid(m *nats.Msg) {
	var e entry
	if json.Unmarshal(m.Data, &e) == nil && n.nc.IsConnected() {
		if r := n.room(e.Room); r != nil {
			r.tally.unsaid()
		}
	}
}

// onCount hears the entry of another node.
func (n *Node) onCount(token, name string, data []byte) {
	r := n.roomOf(token)
	if r == nil {
		return
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		n.log.Warn("count of another node is not well formed", "node", name, "error", err)
		return
	}
	n.onEntry(r, name, e)
}

func (n *Node) onEntry(r *room, name string, e entry) {
	if n.isDead(name) || tagOf(name) == n.tag || e.Room != r.name {
		return
	}
	if news, gave := r.tally.hear(name, e); news || gave {
		if gave {
			r.tally.changed(lag)
		}
		n.local.Recount(r.name)
	}
}

// hear takes the entry of another node, and reports whether it is another than the last.
// gave says that it took a user from this one.
func (t *tally) hear(name string, e entry) (news, gave bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.others[name]
	if old.Version >= e.Version {
		return false, false
	}
	if old.ID != e.ID {
		t.dropMoves(old.ID)
	}
	if e.Closed {
		t.dropMoves(e.ID)
	}
	coming := len(t.passing)
	for _, id := range e.Joined {
		delete(t.passing, id)
		// Counted where it joined last: there.
		counted, open := t.node.table.Yield(t.room.name, id)
		gave = gave || counted
		if counted && open {
			if t.yielded == nil {
				t.yielded = make(map[string]string)
			}
			t.yielded[id] = name
		}
	}
	e.Joined, e.Room, e.heard = nil, "", time.Now()
	if t.others == nil {
		t.others = make(map[string]entry)
	}
	t.others[name] = e
	if t.entries != nil {
		close(t.entries)
		t.entries = nil
	}
	// All is said again once a minute, which changes no count.
	same := len(t.passing) == coming && old.ID == e.ID && old.Users == e.Users && old.Closed == e.Closed && maps.Equal(old.In, e.In) && maps.Equal(old.Out, e.Out)
	return !same, gave
}

// dropMoves forgets who came from and went to an entry that is no more; t.mu is held.
func (t *tally) dropMoves(id string) {
	delete(t.mine.In, id)
	delete(t.mine.Out, id)
	t.unsure = slices.DeleteFunc(t.unsure, func(c claim) bool { return c.entry == id })
}

// bury counts those here again whom a dead node took. It reports whether the count of
// the room may have changed. What the node said is kept for a while: its users are
// still coming, and some other node may not know yet that it is dead.
func (t *tally) bury(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known := t.others[name]
	for id, by := range t.yielded {
		if by == name {
			delete(t.yielded, id)
			known = t.node.table.Take(t.room.name, id) || known
		}
	}
	return known
}

// forget drops what nodes have said that were dead long enough, as far as the caller
// knows, or that have not said again what they should say once a minute.
func (t *tally) forget(long func(name string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for name, e := range t.others {
		silent := now.Sub(e.heard)
		if silent > countLife || silent > remembered && !t.node.alive(name) && long(name) {
			t.dropMoves(e.ID)
			delete(t.others, name)
		}
	}
}

func (t *tally) knows(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.others[name]
	return ok
}

// populated returns how many other nodes have users in the room, as far as they have said so
// or have taken some from here.
func (t *tally) populated() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	nodes := make(map[string]struct{})
	for name, e := range t.others {
		if e.Users > 0 && t.node.alive(name) {
			nodes[name] = struct{}{}
		}
	}
	for id := range t.mine.Out {
		if name := nodeOf(id); t.node.alive(name) {
			nodes[name] = struct{}{}
		}
	}
	if len(nodes) == 0 && len(t.passing) > 0 {
		return 1 // whoever it is
	}
	return len(nodes)
}

// Total returns how many users a room that this node has open has on all nodes.
func (n *Node) Total(name string) (users int, open bool) {
	r := n.room(name)
	if r == nil {
		return 0, false
	}
	return r.tally.total(), true
}

// Changed says that this node's users of the room may have changed.
func (n *Node) Changed(name string) {
	if r := n.room(name); r != nil {
		r.tally.changed(0)
	}
}
