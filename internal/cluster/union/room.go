package union

import (
	"maps"
	"slices"
	"time"
)

// room is a room that this node has open. It holds this node's set, and what the node knows of the other nodes' sets.
type room struct {
	key   string
	ready bool // the others' sets are known, or the wait for them is over
	since time.Time

	users users
	sets  map[string]*set // by node
	mine  *set            // the set of this node
	kept  *set            // the users in keep
	keep  keeping
	back  map[uint64]struct{} // users that have joined since the room was opened; only until it is ready
	again []uint64            // users of this node that others must hear of again, see Machine.keep
	count int                 // users after the last refresh

	ids       map[uint64]string // this node's users by hash
	changes   map[uint64]bool   // of this node's set, not sent yet: a user has joined, or has left
	anon      int               // number of users without an id, as it was last sent
	announced time.Time         // time of the last delta
	digest    time.Time         // time of the next digest
	proved    time.Time         // time of the last digest
}

// keeping maps users of stopped nodes to the end of the time in which they count.
type keeping map[uint64]time.Time

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
	loading state = iota // nothing is known, and it was requested. It does not count.
	current              // it is what its node sent. It counts.
	behind               // a change may be missing, and it was requested. The known users count.
	silent               // its node is silent, or has not confirmed it since. It does not count.
)

func newRoom(key, node string, instance uint64, now time.Time, keep keeping) *room {
	r := &room{
		key: key, since: now, digest: now.Add(digestEvery), proved: now, keep: keep,
		sets: make(map[string]*set), ids: make(map[uint64]string), changes: make(map[uint64]bool), back: make(map[uint64]struct{}),
	}
	r.users = newUsers(r.counts)
	r.mine, r.kept = r.set(node), r.set("")
	r.mine.Instance = instance
	r.mine.state, r.kept.state = current, current
	for h := range keep {
		r.hold(r.kept, h)
	}
	return r
}

// set returns the set of a node. A new set is loading.
func (r *room) set(node string) *set {
	s := r.sets[node]
	if s == nil {
		s = &set{node: node}
		r.sets[node] = s
	}
	return s
}

// others returns the sets of the other nodes.
func (r *room) others() (list []*set) {
	for _, node := range sorted(r.sets) {
		if s := r.sets[node]; s != r.mine && s != r.kept {
			list = append(list, s)
		}
	}
	return list
}

// counts reports whether the users of a node count.
func (r *room) counts(node string) bool {
	s := r.sets[node]
	return s != nil && (s.state == current || s.state == behind)
}

// enter changes the state of a set.
func (r *room) enter(s *set, to state) {
	before := r.counts(s.node)
	if s.state = to; r.counts(s.node) != before {
		r.users.recount()
	}
}

// remove deletes the set of another node.
func (r *room) remove(node string) {
	if s := r.sets[node]; s != nil {
		delete(r.sets, node)
		r.empty(s)
	}
}

// empty removes all users from a set.
func (r *room) empty(s *set) {
	if s.Size > 0 {
		r.users.remove(s.node)
	}
	s.State = State{}
}

// refresh updates the count, and reports whether it has changed.
func (r *room) refresh() bool {
	before := r.count
	r.count = r.users.size
	for _, s := range r.sets {
		if r.counts(s.node) {
			r.count += s.Anonymous
		}
	}
	return r.count != before
}

// hold records that a node holds a user.
func (r *room) hold(s *set, h uint64) {
	if r.users.hold(h, s.node, true) {
		s.Size++
		s.Xor ^= h
	}
}

// release records that a node does not hold a user.
func (r *room) release(s *set, h uint64) {
	if r.users.hold(h, s.node, false) {
		s.Size--
		s.Xor ^= h
	}
}

// join adds a user to this node's set.
func (r *room) join(h uint64, id string) {
	if _, here := r.ids[h]; here {
		return
	}
	r.ids[h] = id
	r.change(h, true)
	r.hold(r.mine, h)
	r.returned(h)
}

// leave removes a user from this node's set.
func (r *room) leave(h uint64) {
	if _, here := r.ids[h]; here {
		delete(r.ids, h)
		r.change(h, false)
		r.release(r.mine, h)
	}
}

// change records a change that the other nodes must get. Two changes of a user cancel each other out.
func (r *room) change(h uint64, joined bool) {
	if _, pending := r.changes[h]; pending {
		delete(r.changes, h)
	} else {
		r.changes[h] = joined
	}
}

// returned ends the keeping of a user, because it has come to another node.
func (r *room) returned(h uint64) {
	r.drop(h)
	if !r.ready {
		r.back[h] = struct{}{}
	}
}

// drop ends the keeping of a user.
func (r *room) drop(h uint64) {
	if _, kept := r.keep[h]; kept {
		delete(r.keep, h)
		r.release(r.kept, h)
	}
}

// expire ends the keeping of the users whose time is over, and reports whether there were any.
func (r *room) expire(now time.Time) (some bool) {
	for h, until := range r.keep {
		if !now.Before(until) {
			r.drop(h)
			some = true
		}
	}
	return some
}

// pending reports whether there are changes that were not sent yet.
func (r *room) pending() bool {
	return len(r.changes) > 0 || r.mine.Anonymous != r.anon || r.again != nil
}

// deltas returns the changes that were not sent yet, in deltas with at most limit users.
func (r *room) deltas(limit int) (list []Delta) {
	for _, h := range r.again {
		if _, changed := r.changes[h]; !changed && r.ids[h] != "" { // otherwise it has left since
			r.changes[h] = true
		}
	}
	for rest, more := slices.Sorted(maps.Keys(r.changes)), r.pending(); more; more = len(rest) > 0 {
		r.mine.Seq++
		d := Delta{r.mine.node, r.key, r.mine.Instance, r.mine.Seq, r.mine.Anonymous, nil, nil}
		part := rest[:min(limit, len(rest))]
		rest = rest[len(part):]
		for _, h := range part {
			if r.changes[h] {
				d.Joined = append(d.Joined, h)
			} else {
				d.Left = append(d.Left, h)
			}
		}
		list = append(list, d)
	}
	r.anon, r.changes, r.again = r.mine.Anonymous, make(map[uint64]bool), nil
	return list
}
