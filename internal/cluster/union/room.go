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
	sets  map[string]*set // by node; the sets kept of a stopped node are under keptOf(node)
	slots []*set          // the same sets by slot; nil is free
	gone  map[uint64]*goodbye
	count int // users after the last settle

	removed slots // slots to clear before they are free
	recount bool  // users.size is out of date

	mine   *set
	ids    map[uint64]string   // this node's users by hash
	joined map[uint64]struct{} // of this node's users, those that were not sent yet
	left   map[uint64]struct{} // former users of this node whose leaving was not sent yet
	anon   int                 // number of users without an id, as it was last sent
	told   time.Time           // time of the last delta
	digest time.Time           // time of the next digest
}

// set is the set of one node. room.users holds its users under its slot.
type set struct {
	node  string
	slot  int
	state state
	State // the state of the known users

	parts []Set     // parts of a whole set that have arrived so far
	keep  keeping   // only for kept sets
	known time.Time // when its node was first heard
	asked time.Time // when its node was last asked
	fresh time.Time // when it was last known to be right
}

// state is the state of a set. It decides whether its users count.
type state int

const (
	loading state = iota // nothing is known, and it was requested. It does not count.
	current              // it is what its node sent. It counts.
	behind               // a change may be missing, and it was requested. The known users count.
	silent               // its node is silent, or has not confirmed it since. It does not count.
	kept                 // its node has stopped. Each user counts until its time ends or it comes back elsewhere.
)

// goodbye is a recent goodbye of a user.
type goodbye struct {
	node     string    // the node that sent it; empty if it was not received and may still come
	number   uint64    // its number on that node
	until    time.Time // when it expires
	masked   slots     // nodes that hold the user and may not have received it; the user does not count there
	answered slots     // nodes that have received it; the users that they report count
}

func keptOf(node string) string { return node + " kept" }

func newRoom(key, node string, instance uint64, now time.Time, gone map[uint64]*goodbye) *room {
	r := &room{
		key: key, since: now, digest: now.Add(digestEvery),
		sets: make(map[string]*set), gone: gone,
		ids: make(map[uint64]string), joined: make(map[uint64]struct{}), left: make(map[uint64]struct{}),
	}
	for _, g := range gone {
		g.masked, g.answered = nil, nil
	}
	r.mine = r.set(node)
	r.mine.Instance = instance
	r.enter(r.mine, current)
	return r
}

// set returns the set of a node. A new set is loading.
func (r *room) set(name string) *set {
	s := r.sets[name]
	if s == nil {
		s = &set{node: name, slot: slices.Index(r.slots, nil)}
		if s.slot < 0 {
			s.slot = len(r.slots)
			r.slots = append(r.slots, nil)
			r.users.grow(s.slot)
		}
		r.slots[s.slot], r.sets[name] = s, s
	}
	return s
}

// enter changes the state of a set.
func (r *room) enter(s *set, to state) {
	s.state = to
	counts := to != loading && to != silent
	if r.users.counted.has(s.slot) == counts {
		return
	}
	if counts {
		r.users.counted.add(s.slot)
	} else {
		r.users.counted.remove(s.slot)
	}
	r.recount = r.recount || s.Size > 0
}

// remove deletes a set.
func (r *room) remove(name string) {
	if s := r.sets[name]; s != nil && s != r.mine {
		delete(r.sets, name)
		r.enter(s, silent)
		r.removed.add(s.slot)
	}
}

// stale reports whether users.size is out of date.
func (r *room) stale() bool { return r.recount || r.removed != nil }

// settle updates the count, and reports whether it has changed.
func (r *room) settle() bool {
	if r.stale() {
		r.users.recount(r.removed)
		for _, g := range r.gone {
			r.removed.each(g.masked.remove)
			r.removed.each(g.answered.remove)
		}
		r.removed.each(func(slot int) { r.slots[slot] = nil })
		r.removed, r.recount = nil, false
	}
	before := r.count
	r.count = r.users.size
	for _, s := range r.sets {
		if r.users.counted.has(s.slot) {
			r.count += s.Anonymous
		}
	}
	return r.count != before
}

// hold records that a node holds a user.
func (r *room) hold(s *set, h uint64) {
	g := r.gone[h]
	if r.users.has(h, s.slot) || g != nil && g.masked.has(s.slot) {
		return
	}
	s.Size++
	s.Xor ^= h
	if g != nil && g.node != "" && !g.answered.has(s.slot) && !s.known.Add(goodbyeTime).After(g.until) {
		g.masked.add(s.slot)
	} else {
		r.users.set(h, s.slot, true)
	}
}

// release records that a node does not hold a user.
func (r *room) release(s *set, h uint64) {
	g := r.gone[h]
	held := r.users.has(h, s.slot)
	if held || g != nil && g.masked.has(s.slot) {
		s.Size--
		s.Xor ^= h
	}
	if held {
		r.users.set(h, s.slot, false)
	}
	if g != nil {
		g.masked.remove(s.slot)
		g.answered.add(s.slot)
	}
	delete(s.keep, h)
}

// empty removes all users of a node, for the moment.
func (r *room) empty(s *set) {
	if s.Size > 0 {
		var one slots
		one.add(s.slot)
		r.users.recount(one)
		for _, g := range r.gone {
			g.masked.remove(s.slot)
		}
	}
	s.State = State{}
}

// join adds a user to this node's set.
func (r *room) join(h uint64, id string) {
	if g := r.gone[h]; g != nil && g.node != "" && !g.answered.has(r.mine.slot) {
		r.release(r.mine, h)
		r.left[h] = struct{}{} // this tells the other nodes that the user came back after its goodbye
	}
	if _, here := r.ids[h]; !here {
		r.joined[h] = struct{}{}
	}
	r.ids[h] = id
	r.hold(r.mine, h)
	r.back(h)
}

// leave removes a user from this node's set.
func (r *room) leave(h uint64) {
	if _, here := r.ids[h]; !here {
		return
	}
	delete(r.ids, h)
	r.release(r.mine, h)
	if _, untold := r.joined[h]; untold {
		delete(r.joined, h)
	} else {
		r.left[h] = struct{}{}
	}
}

// back removes a user from the sets of stopped nodes, because it has come back to another node.
func (r *room) back(h uint64) {
	for _, s := range r.slots {
		if s != nil && s.state == kept {
			r.release(s, h)
		}
	}
}

// goodbye removes a user who says goodbye from the other nodes' sets. This node's own table does the same for its own
// set.
func (r *room) goodbye(h uint64, said Goodbye, now time.Time) {
	if said.Grace > 0 {
		for _, s := range r.slots {
			if s != nil && now.Add(said.Grace).Before(s.keep[h]) {
				s.keep[h] = now.Add(said.Grace)
			}
		}
		return // the nodes that hold the user wait, and send a delta when it has left
	}
	r.back(h)
	g := r.gone[h]
	switch {
	case g == nil:
		g = &goodbye{}
		r.gone[h] = g
	case g.node != "" && (g.node != said.Node || g.number != said.Number):
		g.answered = nil // this is another goodbye
	}
	g.node, g.number, g.until = said.Node, said.Number, now.Add(goodbyeTime)
	for _, s := range r.slots {
		if s != nil && s != r.mine && r.users.has(h, s.slot) && !g.answered.has(s.slot) {
			r.users.set(h, s.slot, false)
			g.masked.add(s.slot)
		}
	}
}

// answer records that a node has received the goodbye of a user, or that the user has left it. The goodbye may still
// arrive at this node.
func (r *room) answer(s *set, h uint64, now time.Time) {
	if r.gone[h] == nil {
		r.gone[h] = &goodbye{until: now.Add(onTheWay)}
	}
	r.gone[h].answered.add(s.slot)
}

// answered returns the users whose goodbye this node has received and acknowledged.
func (r *room) answered() (back []uint64) {
	for h, g := range r.gone {
		if g.answered.has(r.mine.slot) {
			back = append(back, h)
		}
	}
	slices.Sort(back)
	return back
}

// keep counts users of a node that has stopped.
func (r *room) keep(node string, all keeping) {
	s := r.set(keptOf(node))
	r.enter(s, kept)
	s.keep = all
	for h := range all {
		if g := r.gone[h]; g != nil {
			g.answered.add(s.slot) // the user came after the goodbye, or the node would not ask to keep it
		}
		r.hold(s, h)
	}
}

// elsewhere reports whether another node also holds a user.
func (r *room) elsewhere(h uint64) bool {
	return slices.ContainsFunc(r.slots, func(s *set) bool { return s != nil && s != r.mine && r.users.has(h, s.slot) })
}

// expire removes expired goodbyes and kept users, and reports whether there may have been any.
func (r *room) expire(now time.Time) (some bool) {
	some = len(r.gone) > 0
	for h, g := range r.gone {
		if !now.Before(g.until) {
			g.masked.each(func(slot int) { r.users.set(h, slot, true) }) // they have reported the user all along
			delete(r.gone, h)
		}
	}
	for _, s := range r.slots {
		if s == nil || s.state != kept {
			continue
		}
		some = true
		for h, until := range s.keep {
			if !now.Before(until) {
				r.release(s, h)
			}
		}
		if len(s.keep) == 0 {
			r.remove(s.node)
		}
	}
	return some
}

// news reports whether there are changes that were not sent yet.
func (r *room) news() bool {
	return len(r.left) > 0 || len(r.joined) > 0 || r.mine.Anonymous != r.anon
}

// next returns the next delta with at most limit changes. A user who left and joined again stays in one delta.
func (r *room) next(limit int) Delta {
	r.mine.Seq++
	r.anon = r.mine.Anonymous
	d := Delta{r.mine.node, r.key, r.mine.Instance, r.mine.Seq, r.anon, nil, nil}
	some := make(map[uint64]struct{})
	for _, from := range []map[uint64]struct{}{r.left, r.joined} {
		for h := range from {
			if len(some) < limit {
				some[h] = struct{}{}
			}
		}
	}
	for _, h := range slices.Sorted(maps.Keys(some)) {
		if _, ok := r.left[h]; ok {
			d.Left = append(d.Left, h)
			delete(r.left, h)
		}
		if _, ok := r.joined[h]; ok {
			d.Joined = append(d.Joined, h)
			delete(r.joined, h)
		}
	}
	return d
}
