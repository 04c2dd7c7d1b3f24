package union_test

import (
	"slices"
	"time"

	"pgregory.net/rapid"
)

const maxUnnamed = 2

// pick returns one of the elements for which fit returns true, and false if there is none. The action then does nothing.
// Not [rapid.T.Skip], which fails a test that draws nothing but such actions for a while, as a fuzzer may.
func pick[T any](t *rapid.T, name string, all []T, fit func(T) bool) (one T, ok bool) {
	var some []T
	for _, one := range all {
		if fit(one) {
			some = append(some, one)
		}
	}
	if len(some) == 0 {
		return one, false
	}
	return some[rapid.IntRange(0, len(some)-1).Draw(t, name)], true
}

func (w *world) pause(t *rapid.T, most int) {
	w.advance(time.Duration(rapid.IntRange(0, most).Draw(t, "ms")) * time.Millisecond)
}

func (w *world) wait(t *rapid.T) {
	w.advance(rapid.SampledFrom([]time.Duration{50, 300, 1000, 2500, 7000}).Draw(t, "wait") * time.Millisecond)
}

func (w *world) open(t *rapid.T) {
	if n, ok := pick(t, "node", w.nodes, (*node).serves); ok {
		w.openAt(n, rapid.SampledFrom(clients).Draw(t, "user"))
		w.pause(t, 100)
	}
}

func (w *world) openAt(n *node, id string) {
	n.streams[id] = append(n.streams[id], n.table.Open(room, id, quiet{}))
	w.came(n, id)
}

// came records that a user has come to a node. If it is new there, the node tells the others, and they end their promise.
func (w *world) came(n *node, id string) {
	delete(n.leaves, id)
	if p := w.promises[id]; w.now.Before(p.may) && n.held[id].IsZero() {
		p.must = earlier(p.must, w.now.Add(w.told()))
		if w.allHear() && w.now.Sub(p.from) >= maxDelay {
			p.may, p.cutShort = earlier(p.may, w.now.Add(w.told())), w.now
		}
		w.promises[id] = p
	}
	w.update(n)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (w *world) openUnnamed(t *rapid.T) {
	n, ok := pick(t, "node", w.nodes, (*node).serves)
	if !ok {
		return
	}
	if len(n.unnamed) == maxUnnamed {
		n.table.Close(n.unnamed[0], w.now)
		n.unnamed = n.unnamed[1:]
	} else {
		n.unnamed = append(n.unnamed, n.table.Open(room, "", quiet{}))
	}
	n.settled = w.now
	w.update(n)
}

// inside lets a user join or leave the other room on some node.
func (w *world) inside(t *rapid.T) {
	n, ok := pick(t, "node", w.nodes, (*node).serves)
	if !ok {
		return
	}
	id := rapid.SampledFrom(clients).Draw(t, "user")
	switch {
	case n.aside == nil:
		n.aside = map[string]bool{id: true}
		w.about(n, side, n.machine.Open(w.now, side, []string{id}, 0))
	case n.aside[id]:
		delete(n.aside, id)
		w.about(n, side, n.machine.Local(w.now, side, []string{id}, nil, 0))
	default:
		n.aside[id] = true
		w.about(n, side, n.machine.Local(w.now, side, nil, []string{id}, 0))
	}
}

// stream is an open stream with an id.
type stream struct {
	n  *node
	id string
}

func (w *world) someStream(t *rapid.T) (stream, bool) {
	var all []stream
	for _, n := range w.nodes {
		for _, id := range clients {
			if n.up && len(n.streams[id]) > 0 {
				all = append(all, stream{n, id})
			}
		}
	}
	return pick(t, "stream", all, func(stream) bool { return true })
}

// move moves a user to another node. Its old stream ends after the move or before, and is in its grace period then.
func (w *world) move(t *rapid.T) {
	s, ok := w.someStream(t)
	to, other := pick(t, "node", w.nodes, func(n *node) bool { return n.serves() && n != s.n })
	if !ok || !other {
		return
	}
	if rapid.Bool().Draw(t, "first") {
		w.openAt(to, s.id)
		w.pause(t, 500)
		w.closeOne(s)
		return
	}
	w.closeOne(s)
	w.pause(t, 1200)
	w.openAt(to, s.id)
}

func (w *world) close(t *rapid.T) {
	if s, ok := w.someStream(t); ok {
		w.closeOne(s)
	}
	w.pause(t, 100)
}

// closeOne ends a stream. A frozen node notices it later.
func (w *world) closeOne(s stream) {
	if open := s.n.streams[s.id]; len(open) > 0 {
		s.n.streams[s.id] = open[1:]
		s.n.when(func() {
			s.n.table.Close(open[0], w.now)
			w.update(s.n)
		})
	}
}

// goodbye lets a user say goodbye on some node, at once or with a grace period.
func (w *world) goodbye(t *rapid.T) {
	n, ok := pick(t, "node", w.nodes, (*node).serves)
	if !ok {
		return
	}
	id := rapid.SampledFrom(clients).Draw(t, "user")
	grace := rapid.SampledFrom([]time.Duration{0, 0, time.Second}).Draw(t, "grace")
	w.bade[id] = w.now
	p := w.promises[id]
	p.must = earlier(p.must, w.now.Add(grace))
	if w.allSound() {
		p.may, p.cutShort = earlier(p.may, w.now.Add(grace+maxDelay+600*time.Millisecond)), w.now
	}
	w.promises[id] = p
	w.leave(n, id, grace)
	w.about(n, room, n.machine.Leave(w.now, room, []string{id}, grace))
	w.pause(t, 200)
}

// alive renews the lease of a user on some node, which finds out which node holds the user.
func (w *world) alive(t *rapid.T) {
	n, ok := pick(t, "node", w.nodes, (*node).serves)
	if !ok {
		return
	}
	id := rapid.SampledFrom(clients).Draw(t, "user")
	for range 2 {
		if w.renew(n, id) {
			return
		}
		e, unknown := n.machine.Renew(w.now, room, []string{id})
		w.about(n, room, e)
		if len(unknown) == 0 {
			return
		}
		w.advance(w.told())
		if !n.serves() {
			return
		}
	}
	if !n.machine.Gone(room, id) {
		n.table.Renew(room, id, w.now.Add(lease))
		w.came(n, id)
	}
}

// renew renews the lease of a user on a node that has it.
func (w *world) renew(n *node, id string) bool {
	known := n.table.Has(room, id)
	if known {
		n.table.Renew(room, id, w.now.Add(lease))
	}
	return known
}

// closeRoom closes a room that has been empty for a minute, as the hub does.
func (w *world) closeRoom(t *rapid.T) {
	n, ok := pick(t, "node", w.nodes, func(n *node) bool { return n.serves() && !n.opened.IsZero() && n.table.Count(room) == 0 })
	if !ok {
		return
	}
	w.advance(max(0, time.Minute-w.now.Sub(n.empty)))
	if n.serves() && n.table.Count(room) == 0 {
		n.opened = time.Time{}
		w.about(n, room, n.machine.Close(w.now, room))
		delete(n.shown, room)
	}
}

// stop lets a node end its streams and ask the others to keep its users. They come to another node or not.
func (w *world) stop(t *rapid.T) {
	n, ok := pick(t, "node", w.nodes, func(n *node) bool { return w.sound(n) })
	if !ok {
		return
	}
	for _, id := range clients {
		for _, k := range n.streams[id] {
			n.table.CloseFor(k, w.now, handover)
		}
	}
	w.update(n)
	stopped := w.now
	healthy := w.allSound() && w.now.Sub(w.lost) > maxDelay && !w.lossy
	for _, id := range clients {
		left := n.table.Left(room, id, w.now, 0)
		if left == 0 {
			continue
		}
		p := w.promises[id]
		if length := p.may.Sub(p.from); slices.ContainsFunc(w.nodes, func(o *node) bool { return o.up && o.frozen }) {
			p.unread = max(p.unread, length)
		} else if p.unread = 0; w.thawed.After(p.from) {
			p.may = later(p.may, w.thawed.Add(length))
		}
		p.from, p.may = w.now, later(p.may, w.now.Add(left+maxDelay+2600*time.Millisecond))
		p.whole = p.may
		if p.must = w.now.Add(left); !healthy || !n.leaves[id].IsZero() || w.now.Sub(w.bade[id]) < maxDelay {
			p.must = w.now // the goodbye may not have arrived here, so the others ignore what this node says
		}
		if slices.ContainsFunc(w.nodes, func(o *node) bool { return o != n && w.now.Sub(o.held[id]) < w.told() }) {
			p.must = w.now // the others may hear later that it came to that node, and it cannot be told from a return
		}
		w.promises[id] = p
	}
	w.do(n, n.machine.Stop(w.now, func(room, id string) time.Duration { return n.table.Left(room, id, w.now, 0) }))
	w.end(n)
	if healthy {
		n.ended = time.Time{} // all hear that it has stopped, and need not wait until it is silent
	}
	w.advance(maxDelay)
	for id, p := range w.promises {
		if p.from.Equal(stopped) && slices.ContainsFunc(w.nodes, func(n *node) bool { return n.up && len(n.streams[id]) > 0 }) {
			p.must = w.now // a node that had a stream of the user when it got the request ends the promise
			if w.allHear() {
				p.may, p.cutShort = earlier(p.may, w.now.Add(w.told())), w.now
			}
			w.promises[id] = p
		}
	}
	w.pause(t, 300)
	for _, id := range clients {
		if !w.now.Before(w.promises[id].may) {
			continue
		}
		next := rapid.SampledFrom([]string{"away", "back", "back and gone"}).Draw(t, "then")
		if next == "away" {
			continue
		}
		to, ok := pick(t, "node", w.nodes, (*node).serves)
		if !ok {
			return
		}
		w.openAt(to, id)
		w.pause(t, 500)
		if next == "back and gone" {
			w.closeOne(stream{to, id})
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (w *world) end(n *node) {
	w.trouble(n)
	n.up, n.held, n.unnamed = false, nil, nil
}

// trouble records that a node falls silent.
func (w *world) trouble(n *node) {
	w.record(n)
	if w.sound(n) {
		n.sick = w.now
	}
	n.ended = w.now
}

func (w *world) start(t *rapid.T) {
	up := 0
	for _, n := range w.nodes {
		if n.up {
			up++
		}
	}
	if up < 4 && len(w.nodes) < 12 {
		w.startOne()
	}
}

func (w *world) fault(t *rapid.T) {
	kind := rapid.SampledFrom([]string{"crash", "freeze", "cut", "lose"}).Draw(t, "fault")
	if kind == "lose" {
		w.lossy, w.lost = true, w.now
	} else {
		n, ok := pick(t, "node", w.nodes, func(n *node) bool { return n.serves() && !n.cut })
		if !ok {
			return
		}
		w.trouble(n)
		switch kind {
		case "crash":
			w.end(n)
		case "freeze":
			n.frozen = true
		case "cut":
			n.cut = true
			w.do(n, n.machine.Connect(w.now, false))
		}
		for id, p := range w.promises { // who has come back to that node may be known only to some
			p.must = earlier(p.must, w.now)
			if w.now.Sub(p.cutShort) < w.told() { // and a node that is cut off may miss what ends the promise
				p.may = p.whole
			}
			w.promises[id] = p
		}
	}
	w.pause(t, 6000)
}

func (w *world) heal(t *rapid.T) {
	if w.lossy {
		w.lossy, w.lost = false, w.now
	}
	for _, n := range w.nodes {
		if n.up && n.frozen {
			n.frozen, n.since, n.thawed, w.thawed = false, w.now, w.now, w.now
			late := n.late
			n.late = nil
			for _, do := range late {
				do()
			}
		}
		if n.up && n.cut {
			n.cut, n.since = false, w.now
			w.do(n, n.machine.Connect(w.now, true))
			w.do(n, n.machine.Lost(w.now))
		}
	}
	if t != nil {
		w.pause(t, 500)
	}
}
