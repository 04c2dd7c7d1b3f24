package union

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

const (
	heartbeatEvery = 500 * time.Millisecond
	// silentAfter is how long a node may not be heard of before its users leave the count: they do 4.2 to 4.7 s after it
	// has crashed, and never while messages are held back for less than 4 s.
	silentAfter = 4700 * time.Millisecond
	// goodbyeTime is how long a goodbye holds: a node that has not heard it by then is silent.
	goodbyeTime = silentAfter + 500*time.Millisecond
	onTheWay    = 500 * time.Millisecond  // a goodbye that another node has heard
	frozenAfter = 1500 * time.Millisecond // without a tick: this node has not run, and must listen first
	forgetAfter = time.Minute             // the sets of a silent node; it may come back with the same ones
	scanEvery   = 500 * time.Millisecond  // of all rooms for what is due
	askAgain    = time.Second             // where there was no answer
	readyAfter  = time.Second             // though not all nodes have answered
	digestAfter = time.Second             // since the last change
	digestEvery = 45 * time.Second        // and up to 15 s more
	staleAfter  = 70 * time.Second        // without one: the node may have closed the room, and that was lost
)

// Options of a [Machine].
type Options struct {
	Node        string        // its name, which no other has at the same time
	Incarnation uint64        // of that name: a later process has a greater one, and greater than all instances until then
	Key         []byte        // of the hashes, the same on all nodes
	Pace        time.Duration // how often a room is told of changes at most; default 100 ms
	Chunk       int           // users in one message; default 50,000
}

// Effects is what is to be done about what was applied.
type Effects struct {
	Send    []Outgoing
	Changed []string  // rooms whose count is another one now
	Ready   []string  // rooms that were opened: their count is known now
	Leave   []Leaving // users of this node who have said goodbye at another one
	Heard   []string  // nodes that are there
	Silent  []string  // nodes that are not heard of any more
}

// Leaving is users who leave a room, by their ids: see [Goodbye].
type Leaving struct {
	Room  string
	IDs   []string
	Grace time.Duration
}

// Machine is what one node knows of the users on all nodes. It is not safe for concurrent use. Make one with [New].
type Machine struct {
	Mismatches int // digests that were of another set than the one that was known

	opt       Options
	instance  uint64 // that was used last
	goodbyes  uint64 // that were sent
	connected bool
	rooms     map[string]*room
	order     []*room // in which they were opened
	peers     map[string]*peer
	untold    map[string]*room               // with changes that are due later
	kept      map[string]map[string]keeping  // by room and node, also of rooms that are not open
	gone      map[string]map[uint64]*goodbye // by room and hash, likewise
	closed    []Closed                       // that the others have not been told
	touched   map[*room]struct{}
	effects   Effects

	now, ticked, scanned, beaten, since time.Time // since is when it was connected
}

// New returns a machine without rooms, which is not connected.
func New(opt Options) *Machine {
	if opt.Pace == 0 {
		opt.Pace = 100 * time.Millisecond
	}
	if opt.Chunk == 0 {
		opt.Chunk = 50_000
	}
	return &Machine{
		opt: opt, instance: opt.Incarnation,
		rooms: make(map[string]*room), peers: make(map[string]*peer), kept: make(map[string]map[string]keeping), gone: make(map[string]map[uint64]*goodbye),
		untold: make(map[string]*room), touched: make(map[*room]struct{}),
	}
}

// Hash returns what stands for a client id between nodes: the ids never leave theirs.
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

// sorted returns the keys of a map in an order that is always the same.
func sorted[V any](all map[string]V) []string { return slices.Sorted(maps.Keys(all)) }

// end settles the rooms that were touched. All that is done to a machine ends with it. To count all users of a room anew
// takes a while: if the users of many nodes come back at the same time, that waits for the next tick.
func (m *Machine) end(now bool) Effects {
	for r := range m.touched {
		if r.stale() && !now {
			continue
		}
		delete(m.touched, r)
		if r.settle() {
			m.effects.Changed = append(m.effects.Changed, r.key)
		}
		if !r.ready && m.answered(r) {
			r.ready = true
			m.effects.Ready = append(m.effects.Ready, r.key)
		}
	}
	effects := m.effects
	m.effects = Effects{}
	return effects
}

// answered reports whether it is known of all nodes whom they hold in the room.
func (m *Machine) answered(r *room) bool {
	if m.now.Sub(r.since) >= readyAfter {
		return true
	}
	for _, s := range r.slots {
		if s != nil && s.state == loading && m.alive(s.node) {
			return false
		}
	}
	return m.connected && m.now.Sub(m.since) > heartbeatEvery // else not all nodes are known
}

// touched returns the room if it is open, and has it settled at the end.
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

// Open says that this node has a room open from now on, with these users.
func (m *Machine) Open(now time.Time, key string, ids []string, anonymous int) Effects {
	m.now = now
	m.instance++
	r := newRoom(key, m.opt.Node, m.instance, now, m.goneFrom(key))
	m.rooms[key], m.order = r, append(m.order, r)
	for _, node := range sorted(m.kept[key]) {
		r.keep(node, m.kept[key][node])
	}
	for _, name := range sorted(m.peers) {
		if m.alive(name) {
			m.ask(r, r.set(name))
		}
	}
	return m.Local(now, key, nil, ids, anonymous)
}

// Close says that this node has the room open no more.
func (m *Machine) Close(now time.Time, key string) Effects {
	m.now = now
	if r := m.rooms[key]; r != nil {
		if r.mine.Seq > 0 {
			m.closed = append(m.closed, Closed{m.opt.Node, key, r.mine.Instance})
			m.sendClosed()
		}
		m.order = slices.Delete(m.order, slices.Index(m.order, r), slices.Index(m.order, r)+1)
		delete(m.rooms, key)
		delete(m.untold, key)
	}
	return m.end(false)
}

// sendClosed says which rooms this node has closed, as soon as it can.
func (m *Machine) sendClosed() {
	for _, c := range m.closed {
		m.send(To{Room: c.Room}, c)
	}
	if m.connected {
		m.closed = nil
	}
}

// Local says who left this node's set and who joined it, in this order, and how many users without an id it has now.
func (m *Machine) Local(now time.Time, key string, left, joined []string, anonymous int) Effects {
	m.now = now
	if r := m.touch(key); r != nil {
		for _, h := range m.hashes(left...) {
			r.leave(h)
		}
		for i, h := range m.hashes(joined...) {
			r.join(h, joined[i])
		}
		r.mine.Anonymous = anonymous
		m.tell(r)
	}
	return m.end(true)
}

// tell tells the others of changes: at once if the room was quiet, and else when its pace allows.
func (m *Machine) tell(r *room) {
	switch {
	case !r.news():
	case m.connected && !m.now.Before(r.told.Add(m.opt.Pace)):
		m.flush(r)
	default:
		m.untold[r.key] = r
	}
}

// flush tells the others of all changes: this node's set is then what they know of it.
func (m *Machine) flush(r *room) {
	for r.news() {
		m.send(To{Room: r.key}, r.next(m.opt.Chunk))
		r.told, r.digest = m.now, m.now.Add(digestAfter)
	}
	delete(m.untold, r.key)
}

// Leave takes users out of a room on all nodes: see [Goodbye].
func (m *Machine) Leave(now time.Time, key string, ids []string, grace time.Duration) Effects {
	m.now = now
	m.goodbyes++
	g := Goodbye{m.opt.Node, key, m.goodbyes, grace, m.hashes(ids...)}
	m.send(To{}, g)
	m.goodbye(g)
	return m.end(false)
}

// Connect says whether messages can be sent. When they can, some may have been lost before.
func (m *Machine) Connect(now time.Time, connected bool) Effects {
	m.now, m.connected = now, connected
	if connected {
		m.since = now
		m.beat()
		m.doubt()
		m.sendClosed()
	}
	return m.end(false)
}

// Lost says that messages may have been lost, those of others and its own.
func (m *Machine) Lost(now time.Time) Effects {
	m.now = now
	m.doubt()
	return m.end(false)
}

func (m *Machine) doubt() {
	for _, name := range sorted(m.peers) {
		m.compare(name)
	}
	for _, r := range m.order {
		if m.now.Sub(r.told) < silentAfter {
			r.digest = m.now
		}
	}
}

// Tick lets time pass. It is to be called every 20 ms or so.
func (m *Machine) Tick(now time.Time) Effects {
	m.now = now
	if !m.ticked.IsZero() && now.Sub(m.ticked) >= frozenAfter {
		for _, p := range m.peers {
			if latest := now.Add(3*heartbeatEvery - silentAfter); p.heard.Before(latest) {
				p.heard = latest
			}
		}
		m.doubt()
	}
	m.ticked = now
	if now.Sub(m.beaten) >= heartbeatEvery {
		m.beat()
	}
	m.watch()
	for _, key := range sorted(m.untold) {
		m.tell(m.untold[key])
	}
	if now.Sub(m.scanned) >= scanEvery {
		m.scanned = now
		for _, r := range m.order {
			m.scan(r)
		}
		m.tidy()
	}
	return m.end(true)
}

// goneFrom returns who has said goodbye to a room a moment ago, and where that is to be noted.
func (m *Machine) goneFrom(key string) map[uint64]*goodbye {
	if m.gone[key] == nil {
		m.gone[key] = make(map[uint64]*goodbye)
	}
	return m.gone[key]
}

// tidy forgets what is over in rooms that are not open: see scan for those that are.
func (m *Machine) tidy() {
	for key, gone := range m.gone {
		if m.rooms[key] == nil {
			maps.DeleteFunc(gone, func(_ uint64, g *goodbye) bool { return !m.now.Before(g.until) })
			if len(gone) == 0 {
				delete(m.gone, key)
			}
		}
	}
	for key, byNode := range m.kept {
		for node, k := range byNode {
			maps.DeleteFunc(k, func(_ uint64, until time.Time) bool { return m.rooms[key] == nil && !m.now.Before(until) })
			if len(k) == 0 {
				delete(byNode, node)
			}
		}
		if len(byNode) == 0 {
			delete(m.kept, key)
		}
	}
}

// scan does what is due in a room.
func (m *Machine) scan(r *room) {
	if r.expire(m.now) || !r.ready {
		m.touch(r.key)
	}
	for _, s := range r.slots {
		if s != nil && (s.state != current || s != r.mine && m.now.Sub(s.fresh) >= staleAfter) {
			m.ask(r, s)
		}
	}
	if m.connected && !m.now.Before(r.digest) {
		m.flush(r)
		m.send(To{Room: r.key}, Digest{m.opt.Node, r.key, r.mine.State})
		r.digest = m.now.Add(digestEvery + time.Duration(r.mine.Instance%15)*time.Second)
	}
}

// Stop asks the others to keep the users of this node who are on no other, each for as long as left says, and says that
// it stops.
func (m *Machine) Stop(now time.Time, left func(room, id string) time.Duration) Effects {
	m.now = now
	for _, r := range m.order {
		m.flush(r)
		mine := make(keeping)
		for h, id := range r.ids {
			if d := left(r.key, id); d > 0 && !r.elsewhere(h) {
				mine[h] = now.Add(d)
			}
		}
		m.sendKept(To{}, m.opt.Node, r.key, mine, r.answered())
	}
	for _, key := range sorted(m.kept) { // there may be nobody else who has heard it
		for _, node := range sorted(m.kept[key]) {
			m.sendKept(To{}, node, key, m.kept[key][node], nil)
		}
	}
	m.send(To{}, Stopped{m.opt.Node, m.opt.Incarnation})
	m.connected = false
	return m.end(false)
}

// Count returns how many users a room has on all nodes, if it is open.
func (m *Machine) Count(key string) (users int, open bool) {
	if r := m.rooms[key]; r != nil {
		return r.count, true
	}
	return 0, false
}

// Holders returns the other nodes that hold a user and can be asked about it.
func (m *Machine) Holders(key, id string) (nodes []string) {
	if r := m.rooms[key]; r != nil {
		for _, s := range r.slots {
			if s != nil && s != r.mine && (s.state == current || s.state == behind) && r.users.has(m.hashes(id)[0], s.slot) {
				nodes = append(nodes, s.node)
			}
		}
	}
	return nodes
}

// IDs returns the users of this node that have these hashes.
func (m *Machine) IDs(key string, hashes []uint64) (ids []string) {
	if r := m.rooms[key]; r != nil {
		for _, h := range hashes {
			if id, ok := r.ids[h]; ok {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
