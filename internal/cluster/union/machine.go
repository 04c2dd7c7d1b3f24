package union

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

const (
	heartbeatEvery = 500 * time.Millisecond // and all rooms are checked for work that is due
	// silentAfter is how long a node may be silent before its users leave the count. They leave 4.2 to 4.7 s after a
	// crash, later on a node that is busy, and never while messages are delayed by less than 4 s.
	silentAfter = 4700 * time.Millisecond
	onTheWay    = time.Second             // for a message of a node that stops, sent before it received a goodbye
	pace        = 100 * time.Millisecond  // shortest time between two deltas of a room
	frozenAfter = 1500 * time.Millisecond // without a tick here, or a message of a node; messages may have been lost
	forgetAfter = time.Minute             // for the sets of a silent node, which may come back with the same sets
	askAgain    = time.Second             // if there was no answer
	askRarely   = 16 * time.Second        // at most, doubled from askAgain; whole sets of many nodes take a while
	readyAfter  = time.Second             // even if not all nodes have answered
	openingTime = 5 * time.Second         // in which an opened room hears which users of stopped nodes are kept
	digestAfter = time.Second             // since the last change
	digestEvery = 45 * time.Second        // and up to 15 s more
	staleAfter  = 70 * time.Second        // without a digest; perhaps a Closed was lost
	roomSize    = 8                       // a RoomState takes less space than so many users
	busyAtMost  = 10 * time.Second        // a node that always has messages to apply must ask nevertheless
)

// Options are the options of a [Machine].
type Options struct {
	Node        string // name of the node, unique among the running nodes
	Incarnation uint64 // larger than all earlier incarnations and instances of the name, unless the clock was set back
	Key         []byte // key of the hashes, the same on all nodes
	Chunk       int    // users in one message, which has up to 21 bytes for each; default 50,000

	// HasStream reports whether a user of this node has a stream here, and not only a grace period or a lease.
	HasStream func(room, id string) bool
	// Busy reports whether many messages have arrived and were not applied yet. Answers may be among them, so for a
	// while nothing is requested twice, and no node becomes silent. It may be nil.
	Busy func() bool
}

// Effects is the work that follows from a call.
type Effects struct {
	Send    []Outgoing
	Changes []Change // a call for one room changes no other room
	Ready   []string // opened rooms whose count is now known
	Heard   []string // nodes that were heard again
	Silent  []string // nodes that have become silent
}

// Change is a change of a room by other nodes. If no users are listed, its count has changed. If users are listed, the
// caller renews or removes them, and calls [Machine.Local].
type Change struct {
	Room    string
	Renewed []string      // users of this node whose leases must be renewed
	Left    []string      // users of this node who said goodbye on another node
	Grace   time.Duration // see [Goodbye]
}

// Machine is the knowledge of one node about the users on all nodes. It is not safe for concurrent use. Make one with
// [New].
type Machine struct {
	opt        Options
	mismatches int    // see [Status]
	instance   uint64 // the last instance that was used
	connected  bool
	rooms      map[string]*room
	peers      map[string]*peer
	pending    map[string]*room   // rooms with changes to send later
	kept       map[string]keeping // by room; includes rooms that are not open
	gone       map[user]farewell  // users who said goodbye a moment ago
	stays      map[user]stay      // users whose former node stops, as a node has reported a moment ago
	touched    map[*room]struct{}
	asks       map[string][]RoomState // for the next Sync to each node
	effects    Effects

	now, ticked, beaten time.Time
	due                 time.Time // when the time of a kept user is over
	since, idle, thawed time.Time // when it was connected, was last not busy, and was last frozen
}

// New returns a machine without rooms. It is not connected.
func New(opt Options) *Machine {
	if opt.Chunk == 0 {
		opt.Chunk = 50_000
	}
	return &Machine{
		opt: opt, instance: opt.Incarnation,
		rooms: make(map[string]*room), peers: make(map[string]*peer), pending: make(map[string]*room),
		kept: make(map[string]keeping), gone: make(map[user]farewell), stays: make(map[user]stay),
		touched: make(map[*room]struct{}), asks: make(map[string][]RoomState),
	}
}

// Hash returns the hash of a client id for messages between nodes. The ids never leave their node.
func Hash(key []byte, id string) uint64 {
	sum := sha256.Sum256(append(append(make([]byte, 0, 128), key...), id...))
	return binary.BigEndian.Uint64(sum[:])
}

func (m *Machine) hashes(ids ...string) []uint64 {
	list := make([]uint64, len(ids))
	for i, id := range ids {
		list[i] = Hash(m.opt.Key, id)
	}
	return list
}

// sorted returns the keys of a map in sorted order.
func sorted[V any](all map[string]V) []string { return slices.Sorted(maps.Keys(all)) }

// end updates the counts of all rooms that have changed, and sends the Syncs. Every operation of the machine ends with it.
func (m *Machine) end() Effects {
	for r := range m.touched {
		if r.count != r.users.size {
			r.count = r.users.size
			m.effects.Changes = append(m.effects.Changes, Change{Room: r.key})
		}
		if !r.ready && m.answered(r) {
			r.ready = true
			m.effects.Ready = append(m.effects.Ready, r.key)
		}
	}
	clear(m.touched)
	for _, node := range sorted(m.asks) {
		for sets := range slices.Chunk(m.asks[node], max(1, m.opt.Chunk/roomSize)) {
			m.send(To{Node: node}, Sync{m.opt.Node, sets})
		}
	}
	clear(m.asks)
	effects := m.effects
	m.effects = Effects{}
	return effects
}

// answered reports whether the sets of all nodes in the room are known.
func (m *Machine) answered(r *room) bool {
	if m.now.Sub(r.since) >= readyAfter {
		return true
	}
	for _, s := range r.sets {
		if s.state == unconfirmed && m.alive(s.node) {
			return false
		}
	}
	return m.connected && m.now.Sub(m.since) > heartbeatEvery // before that, not all nodes are known
}

// touch returns the room if it is open, and marks it for end.
func (m *Machine) touch(key string) *room {
	r := m.rooms[key]
	if r != nil {
		m.touched[r] = struct{}{}
	}
	return r
}

func (m *Machine) send(to To, msg Message) {
	if m.connected {
		m.effects.Send = append(m.effects.Send, Outgoing{to, msg})
	}
}

// Open opens a room on this node with these users.
func (m *Machine) Open(now time.Time, key string, ids []string, anonymous int) Effects {
	m.now = now
	m.instance++
	r := newRoom(key, m.opt.Node, m.instance, now)
	m.rooms[key] = r
	for h := range m.kept[key] {
		r.hold(&r.kept, h, true)
	}
	for name := range m.peers {
		if m.alive(name) {
			m.ask(r, r.set(name))
		}
	}
	return m.Local(now, key, nil, ids, anonymous)
}

// Close closes a room on this node.
func (m *Machine) Close(now time.Time, key string) Effects {
	m.now = now
	if r := m.rooms[key]; r != nil {
		m.send(To{Room: key}, Closed{m.opt.Node, key, r.mine.Instance})
		delete(m.rooms, key)
		delete(m.pending, key)
	}
	return m.end()
}

// Local updates this node's set, first by the users who left and then by those who joined, and its number of users
// without an id.
func (m *Machine) Local(now time.Time, key string, left, joined []string, anonymous int) Effects {
	m.now = now
	if r := m.touch(key); r != nil {
		for _, h := range m.hashes(left...) {
			r.leave(h)
		}
		for i, h := range m.hashes(joined...) {
			r.join(h, joined[i])
			m.returned(r, h)
		}
		r.setAnonymous(&r.mine, uint32(anonymous))
		m.announce(r)
	}
	return m.end()
}

// announce sends the changes to the other nodes. It sends them at once, but no earlier than a pace after the last ones.
func (m *Machine) announce(r *room) {
	if m.connected && !m.now.Before(r.announced.Add(pace)) {
		m.flush(r)
	} else {
		m.pending[r.key] = r
	}
}

// flush sends all changes to the other nodes, so that they know the whole set of this node.
func (m *Machine) flush(r *room) {
	delete(m.pending, r.key)
	if len(r.changes) == 0 && r.mine.Anonymous == r.anon {
		return
	}
	for _, part := range parts(maps.Keys(r.changes), m.opt.Chunk) {
		r.mine.Seq++
		d := Delta{m.opt.Node, r.key, r.mine.Instance, r.mine.Seq, r.mine.Anonymous, nil, nil}
		for _, h := range part {
			if _, here := r.ids[h]; here {
				d.Joined = append(d.Joined, h)
			} else {
				d.Left = append(d.Left, h)
			}
		}
		m.send(To{Room: r.key}, d)
	}
	r.anon, r.changes, r.announced = r.mine.Anonymous, make(map[uint64]bool), m.now
}

// Flush sends all changes that still wait for the room's pace.
func (m *Machine) Flush(now time.Time) Effects {
	m.now = now
	for _, key := range sorted(m.pending) {
		m.flush(m.pending[key])
	}
	return m.end()
}

// Connect sets whether messages can be sent.
func (m *Machine) Connect(now time.Time, connected bool) Effects {
	m.now, m.connected = now, connected
	if connected {
		m.since = now
		m.beat()
	}
	return m.end()
}

// Lost reports that messages may have been lost, in both directions. Before it, apply all messages that arrived earlier,
// because there may be answers among them that are older than what was lost.
func (m *Machine) Lost(now time.Time) Effects {
	m.now = now
	m.recheck()
	return m.end()
}

// recheck finds out what was lost, in both directions.
func (m *Machine) recheck() {
	for name := range m.peers {
		m.compare(name)
	}
	for _, r := range m.rooms {
		if m.now.Sub(r.announced) < silentAfter+busyAtMost { // afterwards, the others know that they have missed something
			r.proved = time.Time{}
		}
	}
}

// Tick advances the time. Call it about every 20 ms.
func (m *Machine) Tick(now time.Time) Effects {
	m.now = now
	if !m.ticked.IsZero() && now.Sub(m.ticked) >= frozenAfter {
		m.idle, m.thawed = now, now
		m.recheck()
	}
	m.ticked = now
	m.watch()
	if !now.Before(m.due) {
		m.expire()
	}
	for _, key := range sorted(m.pending) {
		m.announce(m.pending[key])
	}
	if now.Sub(m.beaten) >= heartbeatEvery {
		m.beat()
		for name, p := range m.peers {
			if p.unsure && !m.busy() {
				m.compare(name)
			}
		}
		for _, r := range m.rooms {
			m.scan(r)
		}
		m.tidy()
	}
	return m.end()
}

// scan does the work that is due in a room.
func (m *Machine) scan(r *room) {
	if !r.ready {
		m.touch(r.key)
	}
	if m.now.Sub(r.since) >= openingTime {
		r.came = nil
	}
	for _, s := range r.sets {
		if s.state != current || m.now.Sub(s.fresh) >= staleAfter {
			m.ask(r, s)
		}
	}
	changed := !r.announced.Before(r.proved) && m.now.Sub(r.announced) >= digestAfter
	late := m.now.Sub(r.proved) >= digestEvery+time.Duration(r.mine.Instance%15)*time.Second
	if m.connected && (changed || late) {
		m.flush(r)
		m.send(To{Room: r.key}, Digest{m.opt.Node, []RoomState{{r.key, r.mine.State}}})
		r.proved = m.now
	}
}

// Count returns how many users a room has on all nodes, if it is open.
func (m *Machine) Count(key string) (users int, open bool) {
	if r := m.rooms[key]; r != nil {
		return r.count, true
	}
	return 0, false
}
