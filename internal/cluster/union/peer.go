package union

import "time"

// peer is another node. A node that has become silent is no peer.
type peer struct {
	stopped     bool // it has announced its stop; only the users that it asked to keep count
	incarnation uint64
	users       int
	heard       time.Time // time of its last message
}

// Apply handles a message of another node.
func (m *Machine) Apply(now time.Time, msg Message) Effects {
	m.now = now
	msg.apply(m)
	return m.end()
}

func (m *Machine) alive(node string) bool {
	return m.peers[node] != nil && !m.peers[node].stopped
}

// hear records a sign of life, and reports whether the node may still send. A node that was silent is asked to compare
// its sets, unless it has just started and has no open rooms.
func (m *Machine) hear(node string, empty bool) bool {
	p := m.peers[node]
	switch {
	case node == m.opt.Node || node == "":
		return false
	case p == nil:
		p = &peer{}
		m.peers[node] = p
		m.effects.Heard = append(m.effects.Heard, node)
		if !empty {
			m.compare(node)
		}
	case p.stopped:
		return false
	case m.now.Sub(p.heard) >= frozenAfter: // questions may have been lost
		for _, r := range m.rooms {
			if s := r.sets[node]; s != nil {
				s.wait = min(s.wait, askAgain)
			}
		}
	}
	p.heard = m.now
	return true
}

// from returns a room and the set in it of a node that has sent a message about the set, if the room is open.
func (m *Machine) from(node, key string) (*room, *set) {
	if m.hear(node, false) {
		if r := m.touch(key); r != nil {
			return r, r.set(node)
		}
	}
	return nil, nil
}

func (b Heartbeat) apply(m *Machine) {
	if p := m.peers[b.Node]; p != nil && p.stopped && b.Incarnation > p.incarnation {
		delete(m.peers, b.Node) // this is a new process with the same name
	}
	if m.hear(b.Node, b.Rooms == 0 && b.Users == 0) {
		p := m.peers[b.Node]
		if p.incarnation != 0 && b.Incarnation > p.incarnation {
			// A new process has the name. It opens the rooms again soon, or has crashed and does not.
			for _, r := range m.rooms {
				if s := r.sets[b.Node]; s != nil {
					s.fresh = m.now.Add(silentAfter - staleAfter)
				}
			}
		}
		if b.Incarnation != p.incarnation { // it has just started, and must not wait for the next heartbeat
			m.send(To{Node: b.Node}, m.heartbeat())
		}
		p.incarnation, p.users = b.Incarnation, b.Users
	}
}

func (m *Machine) beat() {
	m.beaten = m.now
	m.send(To{}, m.heartbeat())
}

func (m *Machine) heartbeat() Heartbeat {
	users := 0
	for _, r := range m.rooms {
		users += r.mine.users()
	}
	return Heartbeat{m.opt.Node, m.opt.Incarnation, len(m.rooms), users}
}

// watch detects nodes that have become silent.
func (m *Machine) watch() {
	if m.busy() || m.now.Sub(m.thawed) < frozenAfter {
		return
	}
	for _, name := range sorted(m.peers) {
		p := m.peers[name]
		switch age := m.now.Sub(p.heard); {
		case p.stopped && age >= forgetAfter:
			delete(m.peers, name)
		case !p.stopped && age >= silentAfter:
			delete(m.peers, name)
			m.effects.Silent = append(m.effects.Silent, name)
			for _, r := range m.rooms {
				if s := r.sets[name]; s != nil {
					m.touch(r.key)
					r.enter(s, unconfirmed)
					s.fresh = m.now
				}
			}
		}
	}
}

// busy reports whether what this node waits for may have arrived already, but not for longer than busyAtMost.
func (m *Machine) busy() bool {
	if m.opt.Busy == nil || !m.opt.Busy() {
		m.idle = m.now
		return false
	}
	return m.now.Sub(m.idle) < busyAtMost
}

// The node has already sent the users to keep.
func (s Stopped) apply(m *Machine) {
	if m.hear(s.Node, true) {
		m.peers[s.Node] = &peer{stopped: true, incarnation: s.Incarnation, heard: m.now}
		for _, r := range m.rooms {
			m.touch(r.key).remove(s.Node)
		}
		clear(m.stays) // all its messages have arrived
	}
}

// Status is what this node knows about a node that is alive.
type Status struct {
	Name  string
	Self  bool
	Users int           // sum over all its rooms
	Heard time.Duration // time since its last message
	Fresh time.Duration // age of the oldest of its sets for rooms open here, since it was sent or confirmed
	Lag   int           // rooms open here whose set from that node may be incomplete

	Mismatches int // only for this node: digests that did not match the known set
}

// Nodes returns this node and all other nodes that are alive.
func (m *Machine) Nodes(now time.Time) (list []Status) {
	all := map[string]*Status{m.opt.Node: {Name: m.opt.Node, Self: true, Mismatches: m.mismatches}}
	for name, p := range m.peers {
		if m.alive(name) {
			all[name] = &Status{Name: name, Users: p.users, Heard: now.Sub(p.heard)}
		}
	}
	for _, r := range m.rooms {
		all[m.opt.Node].Users += r.mine.users()
		for _, s := range r.sets {
			if one := all[s.node]; one != nil {
				one.Fresh = max(one.Fresh, now.Sub(s.fresh))
				if s.state != current {
					one.Lag++
				}
			}
		}
	}
	for _, name := range sorted(all) {
		list = append(list, *all[name])
	}
	return list
}
