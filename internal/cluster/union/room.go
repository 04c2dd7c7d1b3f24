package union

import (
	"iter"
	"slices"
	"time"
)

// room is a room that this node has open. It holds this node's set, and what the node knows of the other nodes' sets.
type room struct {
	key   string
	ready bool // the others' sets are known, or the wait for them is over
	since time.Time

	users users
	sets  map[string]*set // of the other nodes
	mine  set             // of this node
	kept  set             // the users of stopped nodes
	came  map[uint64]bool // users that have joined a node since the room was opened; nil after openingTime
	count int             // users after the last call

	ids       map[uint64]string // this node's users by hash
	changes   map[uint64]bool   // users for the next delta, and whether they are in the set that the other nodes know
	anon      uint32            // number of users without an id, as it was last sent
	announced time.Time         // time of the last delta
	proved    time.Time         // time of the last digest; zero if one is due
}

// set is the set of one node. room.users has its users.
type set struct {
	node  string
	state state
	State // the state of the known users

	parts []Set         // parts of a whole set that have arrived so far
	asked time.Time     // when its node was last asked
	wait  time.Duration // from asked until it is asked again
	fresh time.Time     // when it was last known to be right
}

// state is the state of a set. It decides whether its users count.
type state int

const (
	unconfirmed state = iota // nothing is known, or its node was silent since. It is requested, and does not count.
	current                  // it is what its node sent. It counts.
	behind                   // a change may be missing, and it was requested. The known users count.
)

func newRoom(key, node string, instance uint64, now time.Time) *room {
	r := &room{
		key: key, since: now, proved: now, sets: make(map[string]*set),
		ids: make(map[uint64]string), changes: make(map[uint64]bool), came: make(map[uint64]bool),
	}
	r.users = newUsers(r.counts)
	r.mine = set{node: node, State: State{Instance: instance}}
	return r
}

// set returns the set of another node. A new set is unconfirmed.
func (r *room) set(node string) *set {
	s := r.sets[node]
	if s == nil {
		s = &set{node: node}
		r.sets[node] = s
	}
	return s
}

// counts reports whether the users of a node count.
func (r *room) counts(node string) bool {
	s := r.sets[node]
	return s == nil || s.state != unconfirmed // this node's own and kept users always do
}

// enter changes the state of a set.
func (r *room) enter(s *set, to state) {
	counted := s.state != unconfirmed
	if s.state = to; counted != (to != unconfirmed) {
		r.users.recount(s.node)
	}
}

// remove deletes the set of another node.
func (r *room) remove(node string) {
	if s := r.sets[node]; s != nil {
		r.setAnonymous(s, 0)
		if s.Size > 0 {
			r.users.remove(node)
		}
	}
	delete(r.sets, node)
}

// setAnonymous records how many users without an id a node has. They are in the group of this node alone.
func (r *room) setAnonymous(s *set, n uint32) {
	if n != s.Anonymous {
		r.users.grow(r.users.find([]string{s.node}), int(n)-int(s.Anonymous))
		s.Anonymous = n
	}
}

// hold records whether a node holds a user.
func (r *room) hold(s *set, h uint64, holds bool) {
	if r.users.hold(h, s.node, holds) {
		s.Xor ^= h
		if holds {
			s.Size++
		} else {
			s.Size--
		}
	}
}

// join adds a user to this node's set.
func (r *room) join(h uint64, id string) {
	if _, here := r.ids[h]; !here {
		r.ids[h] = id
		r.hold(&r.mine, h, true)
		r.change(h, false)
	}
}

// leave removes a user from this node's set.
func (r *room) leave(h uint64) {
	if _, here := r.ids[h]; here {
		delete(r.ids, h)
		r.hold(&r.mine, h, false)
		r.change(h, true)
	}
}

// change adds a user to the next delta. known is whether the other nodes have it in this node's set. They need not hear
// of one who has joined and left since the last delta.
func (r *room) change(h uint64, known bool) {
	if was, changed := r.changes[h]; !changed {
		r.changes[h] = known
	} else if _, here := r.ids[h]; !was && !here {
		delete(r.changes, h)
	}
}

// parts divides users into parts of at most limit users. There is at least one part.
func parts(users iter.Seq[uint64], limit int) [][]uint64 {
	all := slices.Collect(users)
	if len(all) <= limit {
		return [][]uint64{all}
	}
	slices.Sort(all) // so that a test of the model can be repeated
	return slices.Collect(slices.Chunk(all, limit))
}
