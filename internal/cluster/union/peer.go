package union

import "time"

// peer is another node that was heard in the last minute.
type peer struct {
	state       life
	incarnation uint64
	users       int
	heard       time.Time // time of its last message
	compared    time.Time // when it was last asked to compare all its sets
	unsure      bool      // there was a pause since, in which messages may have been lost
	back        bool      // its last heartbeat had a smaller incarnation
}

// life is the state of a peer. It decides which of its users count.
type life int

const (
	alive   life = iota // all its users count
	silent              // it has sent nothing for silentAfter. Its users do not count, but its sets are remembered.
	stopped             // it has announced its stop. Only the users that it asked to keep count.
)

// Apply handles a message of another node.
func (m *Machine) Apply(now time.Time, msg Message) Effects {
	m.now = now
	msg.apply(m)
	return m.end()
}

func (m *Machine) alive(node string) bool {
	return m.peers[node] != nil && m.peers[node].state == alive
}

// hear records a sign of life, and reports whether the node may still send. A node that was silent is asked to compare
// its sets, unless it has just started and has no open rooms. After a shorter pause it is asked soon.
func (m *Machine) hear(node string, empty bool) bool {
	if node == m.opt.Node || node == "" {
		return false
	}
	p := m.peers[node]
	if p == nil {
		p = &peer{state: silent}
		m.peers[node] = p
	}
	switch p.state {
	case stopped:
		return false
	case silent:
		p.state = alive
		m.effects.Heard = append(m.effects.Heard, node)
		if !empty {
			m.compare(node)
		}
	case alive:
		p.unsure = p.unsure || m.now.Sub(p.heard) >= frozenAfter && !p.compared.After(p.heard)
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
	if p := m.peers[b.Node]; p != nil && p.state == stopped && b.Incarnation != p.incarnation {
		delete(m.peers, b.Node) // this is a new process with the same name
	}
	if !m.hear(b.Node, b.Rooms == 0) {
		return
	}
	p := m.peers[b.Node]
	back := b.Incarnation < p.incarnation
	if late := back && !p.back; !late { // a single one may be a late heartbeat of the old process
		if p.incarnation != 0 && b.Incarnation != p.incarnation {
			m.restarted(b.Node, back)
		}
		if b.Incarnation != p.incarnation { // it has just started, and must not wait for the next heartbeat
			m.send(To{Node: b.Node}, m.heartbeat())
		}
		p.incarnation, p.users = b.Incarnation, b.Users
	}
	p.back = back
}

// restarted handles a new process with the name of a node. It opens the rooms again soon. If it has not done so after a
// while, it has crashed or does not need them, and is asked. If the clock was set back, its instances are smaller than
// those of the old process. What it has sent already was taken for late messages, and is found by the next digest.
func (m *Machine) restarted(node string, back bool) {
	m.peers[node].unsure = false
	for _, r := range m.rooms {
		if s := r.sets[node]; s != nil {
			s.fresh = m.now.Add(silentAfter - staleAfter) // so that it is asked after silentAfter
			if back {
				s.Instance, s.Seq, s.wait = 0, 0, 0
			}
		}
	}
}

func (m *Machine) beat() {
	m.beaten = m.now
	m.send(To{}, m.heartbeat())
}

func (m *Machine) heartbeat() Heartbeat {
	return Heartbeat{m.opt.Node, m.opt.Incarnation, len(m.rooms), m.users()}
}

// users returns how many users this node has, over all its rooms.
func (m *Machine) users() (n int) {
	for _, r := range m.rooms {
		n += r.mine.Size + int(r.mine.Anonymous)
	}
	return n
}

// watch detects nodes that have become silent.
func (m *Machine) watch() {
	if m.busy() || m.now.Sub(m.thawed) < frozenAfter {
		return
	}
	for _, name := range sorted(m.peers) {
		p := m.peers[name]
		switch age := m.now.Sub(p.heard); {
		case p.state != alive && age >= forgetAfter:
			delete(m.peers, name)
			m.removeSets(name)
		case p.state == alive && age >= silentAfter:
			p.state = silent
			m.effects.Silent = append(m.effects.Silent, name)
			for _, r := range m.rooms {
				if s := r.sets[name]; s != nil {
					m.touch(r.key)
					r.enter(s, unconfirmed)
					s.asked = time.Time{} // an answer will not come
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
		p := m.peers[s.Node]
		p.state, p.incarnation = stopped, s.Incarnation
		m.removeSets(s.Node)
	}
}

func (m *Machine) removeSets(node string) {
	for _, r := range m.rooms {
		m.touch(r.key).remove(node)
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
	all := map[string]*Status{m.opt.Node: {Name: m.opt.Node, Self: true, Users: m.users(), Mismatches: m.mismatches}}
	for name, p := range m.peers {
		if m.alive(name) {
			all[name] = &Status{Name: name, Users: p.users, Heard: now.Sub(p.heard)}
		}
	}
	for _, r := range m.rooms {
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
