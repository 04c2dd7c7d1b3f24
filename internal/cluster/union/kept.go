package union

import (
	"maps"
	"slices"
	"time"
)

// keeping maps users of stopped nodes to the end of the time in which they count.
type keeping map[uint64]time.Time

// user is a user in a room.
type user struct {
	room string
	hash uint64
}

// farewell is a goodbye. A node that stops may have asked to keep the user before it received the goodbye. The others
// ignore that for onTheWay. The node itself lists the goodbye in its request for twice as long, because others may have
// received it later.
type farewell struct {
	leaves   time.Time // when the user leaves the count
	received time.Time
}

// stay is the report of a node that has a stream of a user, although another node has asked to keep the user. That
// request may arrive later than the report, and is ignored then.
type stay struct {
	node     string
	received time.Time
}

// Stop ends this node. It asks the other nodes to keep this node's users, each for the time that left returns, even if
// they are on another node too, because that may be their grace period there. Then it announces the stop.
func (m *Machine) Stop(now time.Time, left func(room, id string) time.Duration) Effects {
	m.now = now
	for _, r := range m.rooms {
		m.flush(r)
		mine := make(keeping)
		for h, id := range r.ids {
			if d := left(r.key, id); d > 0 {
				mine[h] = now.Add(d)
			}
		}
		m.sendKept(To{}, Kept{Node: m.opt.Node, Room: r.key}, mine)
	}
	m.send(To{}, Stopped{m.opt.Node, m.opt.Incarnation})
	m.connected = false
	return m.end()
}

// sendKept asks other nodes to keep users.
func (m *Machine) sendKept(to To, k Kept, keep keeping) {
	for part := range slices.Chunk(slices.Sorted(maps.Keys(keep)), m.opt.Chunk) {
		k.Users, k.Back, k.Millis = part, nil, nil
		for _, h := range part {
			if _, gone := m.gone[user{k.Room, h}]; gone {
				k.Back = append(k.Back, h)
			}
			k.Millis = append(k.Millis, uint32(max(0, keep[h].Sub(m.now).Milliseconds())))
		}
		m.send(to, k)
	}
}

// Users are also kept in rooms that are opened later. If a user has a stream on this node already, the others are told
// again, by a delta, that it has joined. A repetition is only for a room that was opened a moment ago, and not for users
// who have come back in the meantime.
func (k Kept) apply(m *Machine) {
	r := m.touch(k.Room)
	if len(k.Users) != len(k.Millis) || k.Repeat && (r == nil || r.came == nil) {
		return
	}
	keep := m.kept[k.Room]
	if keep == nil {
		keep = make(keeping)
		m.kept[k.Room] = keep
	}
	for i, h := range k.Users {
		u := user{k.Room, h}
		until := m.now.Add(time.Duration(k.Millis[i]) * time.Millisecond)
		if f := m.gone[u]; m.now.Sub(f.received) < onTheWay && f.leaves.Before(until) && !slices.Contains(k.Back, h) {
			until = f.leaves // it said goodbye while this message was on its way
		}
		switch {
		case !until.After(m.now):
		case m.stays[u].node != k.Node && m.now.Sub(m.stays[u].received) < onTheWay:
			// The node that has the user got this message earlier, and has answered.
		case k.Repeat && r.came[h]:
		case r != nil && r.ids[h] != "" && m.opt.HasStream(k.Room, r.ids[h]): // it has come back already
			r.change(h, true)
		default:
			if until.After(keep[h]) {
				keep[h] = until
				m.expireAt(until)
			}
			if r != nil {
				r.hold(&r.kept, h, true)
			}
		}
	}
	if r != nil {
		m.announce(r)
	}
}

// returned ends the keeping of a user, because it has come to another node.
func (m *Machine) returned(r *room, h uint64) {
	m.drop(r.key, h)
	r.note(h)
}

// note records that a user has joined a node.
func (r *room) note(h uint64) {
	if r.came != nil {
		r.came[h] = true
	}
}

// witness records a stay if a node reports a user who is in its set already, see [Delta]. If the user then moves on to
// another node, that node has it.
func (m *Machine) witness(r *room, s *set, h uint64) {
	u := user{r.key, h}
	_, stays := m.stays[u]
	_, kept := m.kept[r.key][h]
	if stays || !kept && r.users.has(h, s.node) {
		m.stays[u] = stay{s.node, m.now}
	}
}

// drop ends the keeping of a user.
func (m *Machine) drop(key string, h uint64) {
	if _, kept := m.kept[key][h]; kept {
		delete(m.kept[key], h)
		if r := m.touch(key); r != nil {
			r.hold(&r.kept, h, false)
		}
	}
}

// expire ends the keeping of the users whose time is over. If there are many users, some stay for the pace of a room.
func (m *Machine) expire() {
	m.due = m.now.Add(time.Hour)
	for key, keep := range m.kept {
		for h, until := range keep {
			if !m.now.Before(until) {
				m.drop(key, h)
			} else {
				m.expireAt(until)
			}
		}
		if len(keep) == 0 {
			delete(m.kept, key)
		}
	}
	if next := m.now.Add(pace); m.due.Before(next) {
		m.due = next
	}
}

func (m *Machine) expireAt(until time.Time) {
	if until.Before(m.due) {
		m.due = until
	}
}

// tidy forgets what happened a moment ago.
func (m *Machine) tidy() {
	maps.DeleteFunc(m.stays, func(_ user, s stay) bool { return m.now.Sub(s.received) >= onTheWay })
	maps.DeleteFunc(m.gone, func(_ user, f farewell) bool { return m.now.Sub(f.received) >= 2*onTheWay })
}

// Leave removes users from a room on all nodes, see [Goodbye].
func (m *Machine) Leave(now time.Time, key string, ids []string, grace time.Duration) Effects {
	m.now = now
	g := Goodbye{key, grace, m.hashes(ids...)}
	m.send(To{}, g)
	g.apply(m)
	return m.end()
}

// The nodes that hold a user send a delta when it has left.
func (g Goodbye) apply(m *Machine) {
	r, until := m.touch(g.Room), m.now.Add(g.Grace)
	for _, h := range g.Users {
		m.gone[user{g.Room, h}] = farewell{until, m.now}
		if g.Grace <= 0 {
			m.drop(g.Room, h)
		} else if until.Before(m.kept[g.Room][h]) {
			m.kept[g.Room][h] = until
			m.expireAt(until)
		}
	}
	if ids := m.ids(g.Room, g.Users); ids != nil {
		r.announced = m.now.Add(-pace) // the delta need not wait
		m.effects.Changes = append(m.effects.Changes, Change{Room: g.Room, Left: ids, Grace: g.Grace})
	}
}

// Gone reports whether a page of this user said goodbye a moment ago, which it does with a grace period. A renewal that
// was sent before the goodbye may arrive after it.
func (m *Machine) Gone(key, id string) bool {
	f := m.gone[user{key, Hash(m.opt.Key, id)}]
	return f.leaves.After(f.received)
}
