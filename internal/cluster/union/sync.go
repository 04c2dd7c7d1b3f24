package union

import (
	"maps"
	"time"
)

// If a previous delta is missing, the node is asked, and the answer contains both. The same holds for a new process of
// the node, so the users of its predecessor count until all of its own are known.
func (d Delta) apply(m *Machine) {
	r, s := m.from(d.Node, d.Room)
	if s == nil || s.compare(d.Instance, d.Seq) >= 0 {
		return // already known
	}
	switch {
	case d.Instance > s.Instance && d.Seq == 1 && s.Size == 0:
		s.Instance = d.Instance
		m.verify(r, s)
	case d.Instance != s.Instance || d.Seq != s.Seq+1:
		m.ask(r, s)
		for _, h := range d.Joined {
			r.note(h) // the answer does not say who has come a moment ago
			if !r.ready {
				m.drop(r.key, h) // nobody sees that the count lacks the user until the answer is here
			}
		}
		return
	}
	for _, h := range d.Left {
		r.hold(s, h, false)
	}
	for _, h := range d.Joined {
		m.witness(r, s, h)
		r.hold(s, h, true)
		m.returned(r, h)
	}
	r.setAnonymous(s, d.Anonymous)
	s.Seq, s.fresh = d.Seq, m.now
}

// verify records that the known set matches the set of its node.
func (m *Machine) verify(r *room, s *set) {
	s.fresh, s.parts, s.wait = m.now, nil, askAgain
	r.enter(s, current)
}

// It does not matter whether the digest was requested.
func (d Digest) apply(m *Machine) {
	for _, one := range d.Sets {
		r, s := m.from(d.Node, one.Room)
		if s == nil || m.known(r, s, one.State) {
			continue
		}
		if s.compare(one.Instance, one.Seq) == 0 {
			m.mismatches++
		}
		m.ask(r, s)
	}
}

// known reports whether a state of a set is nothing new, because it was delayed or is the known one.
func (m *Machine) known(r *room, s *set, t State) bool {
	if t == s.State {
		m.verify(r, s)
		return true
	}
	return s.compare(t.Instance, t.Seq) > 0
}

// ask asks a node to compare its set with the known one, unless it was asked a moment ago. While this node is busy the
// answer may be among the messages that were not applied yet, so it asks only once.
func (m *Machine) ask(r *room, s *set) {
	if s.state == current {
		s.state = behind
	}
	answered := s.asked.After(s.fresh) && m.busy()
	if m.alive(s.node) && m.now.Sub(s.asked) >= s.wait && !answered {
		s.asked, s.wait = m.now, min(max(askAgain, 2*s.wait), askRarely)
		m.asks[s.node] = append(m.asks[s.node], RoomState{r.key, s.State})
	}
}

// compare asks a node to compare all its sets with the known ones.
func (m *Machine) compare(node string) {
	if m.alive(node) {
		m.peers[node].compared, m.peers[node].unsure = m.now, false
		for _, r := range m.rooms {
			s := r.set(node)
			s.wait = 0
			m.ask(r, s)
		}
	}
}

func (s Sync) apply(m *Machine) {
	if !m.hear(s.Node, false) {
		return
	}
	to, same := To{Node: s.Node}, Digest{Node: m.opt.Node}
	for _, known := range s.Sets {
		if known.Instance == 0 {
			m.sendKept(to, Kept{Node: m.opt.Node, Room: known.Room, Repeat: true}, m.kept[known.Room])
		}
		r := m.rooms[known.Room]
		if r == nil {
			m.send(to, Closed{m.opt.Node, known.Room, m.instance})
			continue
		}
		m.flush(r)
		if known.State == r.mine.State {
			same.Sets = append(same.Sets, known)
			continue
		}
		all := parts(maps.Keys(r.ids), m.opt.Chunk)
		for i, part := range all {
			m.send(to, Set{m.opt.Node, r.key, r.mine.State, i, len(all), part})
		}
	}
	if len(same.Sets) > 0 {
		m.send(to, same)
	}
}

// The parts must arrive in order, otherwise the node is asked again.
func (t Set) apply(m *Machine) {
	r, s := m.from(t.Node, t.Room)
	if s == nil || m.known(r, s, t.State) {
		return
	}
	if t.Part == 0 {
		s.parts = nil
	}
	if t.Part != len(s.parts) || t.Part > 0 && t.State != s.parts[0].State {
		return
	}
	if s.parts = append(s.parts, t); t.Part+1 < t.Parts {
		s.asked = m.now
		return
	}
	r.remove(t.Node)
	known := r.set(t.Node)
	known.Instance, known.Seq = t.Instance, t.Seq
	r.setAnonymous(known, t.Anonymous)
	for _, part := range s.parts {
		for _, h := range part.Users {
			r.hold(known, h, true)
		}
	}
	m.verify(r, known)
}

func (c Closed) apply(m *Machine) {
	if r, s := m.from(c.Node, c.Room); s != nil && c.Instance >= s.Instance {
		r.remove(c.Node)
	}
}

func (n Renew) apply(m *Machine) {
	if ids := m.ids(n.Room, n.Users); ids != nil {
		m.effects.Changes = append(m.effects.Changes, Change{Room: n.Room, Renewed: ids})
	}
}

// Renew asks the nodes that hold these users to renew their leases, and returns the users that no other node holds.
func (m *Machine) Renew(now time.Time, key string, ids []string) (e Effects, unknown []string) {
	m.now = now
	r := m.rooms[key]
	if r == nil {
		return Effects{}, ids
	}
	held := make(map[string][]uint64) // by node
	for i, h := range m.hashes(ids...) {
		known := false
		for _, node := range r.users.nodes(h) {
			if m.alive(node) && r.counts(node) {
				held[node], known = append(held[node], h), true
			}
		}
		if !known {
			unknown = append(unknown, ids[i])
		}
	}
	for _, node := range sorted(held) {
		m.send(To{Node: node}, Renew{key, held[node]})
	}
	return m.end(), unknown
}

// ids returns the users of this node that have these hashes.
func (m *Machine) ids(key string, hashes []uint64) (ids []string) {
	if r := m.rooms[key]; r != nil {
		for _, h := range hashes {
			if id, ok := r.ids[h]; ok {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
