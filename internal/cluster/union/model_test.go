package union_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestModel checks the invariants of the machine for any actions of users and any trouble of nodes and messages. A user
// who is there all the time is in every count at every moment. No user counts twice. A user who has said goodbye does
// not reappear. At rest all counts are right. check excludes what a node cannot know yet.
func TestModel(t *testing.T) { rapid.Check(t, model) }

// FuzzModel runs TestModel for a longer time.
func FuzzModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(model)) }

func model(t *rapid.T) {
	w := newWorld(t)
	t.Repeat(map[string]func(*rapid.T){
		"open":         w.open,
		"open unnamed": w.openUnnamed,
		"move":         w.move,
		"move again":   w.move,
		"close":        w.close,
		"goodbye":      w.goodbye,
		"alive":        w.alive,
		"close room":   w.closeRoom,
		"wait":         w.wait,
		"stop":         w.stop,
		"start":        w.start,
		"fault":        w.fault,
		"heal":         w.heal,
		"":             func(*rapid.T) { w.advance(time.Millisecond) },
	})
	w.rest()
}

// pick returns one of the elements for which fit returns true, or skips the step.
func pick[T any](t *rapid.T, name string, all []T, fit func(T) bool) T {
	var some []T
	for _, one := range all {
		if fit(one) {
			some = append(some, one)
		}
	}
	if len(some) == 0 {
		t.Skip(name)
	}
	return some[rapid.IntRange(0, len(some)-1).Draw(t, name)]
}

func (w *world) pause(t *rapid.T, most int) {
	w.advance(time.Duration(rapid.IntRange(0, most).Draw(t, "ms")) * time.Millisecond)
}

func (w *world) wait(t *rapid.T) {
	w.advance(rapid.SampledFrom([]time.Duration{50, 300, 1000, 2500, 7000}).Draw(t, "wait") * time.Millisecond)
}

func (w *world) open(t *rapid.T) {
	w.openAt(pick(t, "node", w.places, (*place).serves), rapid.SampledFrom(clients).Draw(t, "user"))
	w.pause(t, 100)
}

func (w *world) openAt(p *place, id string) {
	k := p.table.Open(room, id, quiet{})
	p.streams[id] = append(p.streams[id], k)
	delete(p.leaves, id)
	w.joined[id] = w.now
	w.told(p)
}

func (w *world) openUnnamed(t *rapid.T) {
	p := pick(t, "node", w.places, (*place).serves)
	if len(p.unnamed) > 1 {
		p.table.Close(p.unnamed[0], w.now)
		p.unnamed = p.unnamed[1:]
	} else {
		p.unnamed = append(p.unnamed, p.table.Open(room, "", quiet{}))
	}
	p.settled = w.now
	w.told(p)
}

// stream is an open stream with an id.
type stream struct {
	p  *place
	id string
}

func (w *world) streams() (all []stream) {
	for _, p := range w.places {
		for _, id := range clients {
			if p.up && len(p.streams[id]) > 0 {
				all = append(all, stream{p, id})
			}
		}
	}
	return all
}

// move moves a user to another node. Its old stream ends after the move or a moment before.
func (w *world) move(t *rapid.T) {
	s := pick(t, "stream", w.streams(), func(stream) bool { return true })
	to := pick(t, "node", w.places, func(p *place) bool { return p.serves() && p != s.p })
	if rapid.Bool().Draw(t, "first") {
		w.openAt(to, s.id)
		w.pause(t, 500)
		w.closeAt(s.p, s.id)
		return
	}
	w.closeAt(s.p, s.id)
	w.pause(t, 900)
	if to.serves() {
		w.openAt(to, s.id)
	}
}

func (w *world) close(t *rapid.T) {
	s := pick(t, "stream", w.streams(), func(stream) bool { return true })
	w.closeAt(s.p, s.id)
	w.pause(t, 100)
}

// closeAt ends a stream. A frozen node notices it later.
func (w *world) closeAt(p *place, id string) {
	if len(p.streams[id]) == 0 {
		return
	}
	k := p.streams[id][0]
	p.streams[id] = p.streams[id][1:]
	hear := func() {
		p.table.Close(k, w.now)
		w.told(p)
	}
	if p.frozen {
		p.late = append(p.late, hear)
	} else if p.up {
		hear()
	}
}

// goodbye lets a user say goodbye on some node, at once or with a grace period.
func (w *world) goodbye(t *rapid.T) {
	p, id := pick(t, "node", w.places, (*place).serves), rapid.SampledFrom(clients).Draw(t, "user")
	grace := rapid.SampledFrom([]time.Duration{0, 0, time.Second}).Draw(t, "grace")
	if k := w.kept[id]; grace == 0 {
		w.before[id], w.bade[id] = w.bade[id], w.now
	} else if w.now.Add(grace).Before(k.until) {
		w.kept[id] = keep{k.from, w.now.Add(grace)}
	}
	w.leaveAt(p, id, grace)
	w.do(p, p.machine.Leave(w.now, room, []string{id}, grace))
	w.pause(t, 200)
}

// alive renews the lease of a user on some node, which finds out which node holds the user.
func (w *world) alive(t *rapid.T) {
	p, id := pick(t, "node", w.places, (*place).serves), rapid.SampledFrom(clients).Draw(t, "user")
	renew := func(q *place) bool {
		known := q.serves() && q.table.Has(room, id)
		if known {
			delete(q.leaves, id)
			q.table.Renew(room, id, w.now.Add(lease))
		}
		return known
	}
	if renew(p) {
		return
	}
	for _, holder := range p.machine.Holders(room, id) {
		for _, q := range w.places {
			if q.name == holder && q.up && !p.cut && (q.frozen || q.cut || renew(q)) {
				return // a node that does not answer is assumed to hold the user
			}
		}
	}
	p.table.Renew(room, id, w.now.Add(lease))
	w.joined[id] = w.now
	w.told(p)
}

func (w *world) closeRoom(t *rapid.T) {
	p := pick(t, "node", w.places, func(p *place) bool { return p.serves() && p.opened && p.table.Count(room) == 0 })
	p.opened = false
	w.do(p, p.machine.Close(w.now, room))
}

// stop lets a node end its streams and ask the others to keep its users. They come to another node or not.
func (w *world) stop(t *rapid.T) {
	if w.serving() < 2 {
		t.Skip("the last one")
	}
	p := pick(t, "node", w.places, func(p *place) bool { return p.serves() && w.now.Sub(p.since) > time.Second })
	for _, id := range clients {
		for _, k := range p.streams[id] {
			p.table.CloseFor(k, w.now, comesBack)
		}
	}
	for _, k := range p.unnamed {
		p.table.Close(k, w.now)
	}
	p.settled = w.now
	w.told(p)
	for _, id := range clients {
		left := p.table.Left(room, id, w.now)
		w.most[id] = later(w.most[id], w.now.Add(left))
		if left > 0 && !w.elsewhere(p, id) && p.leaves[id].IsZero() && !p.heard[id].Before(w.bade[id]) && w.allReliable() {
			w.kept[id] = keep{w.now, w.now.Add(left)}
		}
	}
	w.do(p, p.machine.Stop(w.now, func(room, id string) time.Duration { return p.table.Left(room, id, w.now) }))
	w.end(p)
	p.up, p.stopped, w.trouble = false, true, w.now
	w.pause(t, 300)
}

// elsewhere reports whether another node has the user, or had it a moment ago.
func (w *world) elsewhere(p *place, id string) bool {
	for _, q := range w.places {
		if q != p && q.table != nil && q.holds(id, w.now.Add(-w.toldBy())) {
			return true
		}
	}
	return false
}

func (w *world) start(t *rapid.T) {
	up := 0
	for _, p := range w.places {
		if p.up {
			up++
		}
	}
	if up >= 4 || len(w.places) >= 12 {
		t.Skip("enough")
	}
	w.startOne()
}

func (w *world) fault(t *rapid.T) {
	switch rapid.SampledFrom([]string{"crash", "freeze", "cut", "lose"}).Draw(t, "fault") {
	case "crash":
		if w.serving() > 1 {
			p := pick(t, "node", w.places, func(p *place) bool { return p.serves() && !p.cut })
			w.end(p)
			p.up, w.trouble = false, w.now
		}
	case "freeze":
		p := pick(t, "node", w.places, func(p *place) bool { return p.serves() && !p.cut })
		w.end(p)
		p.frozen, w.trouble = true, w.now
	case "cut":
		p := pick(t, "node", w.places, func(p *place) bool { return p.serves() && !p.cut })
		w.end(p)
		p.cut, w.cutOff = true, w.now
		w.do(p, p.machine.Connect(w.now, false))
	case "lose":
		w.lossy, w.lost = true, w.now
	}
	w.pause(t, 6000)
}

func (w *world) heal(t *rapid.T) {
	if w.lossy {
		w.lossy, w.lost = false, w.now
	}
	for _, p := range w.places {
		if p.up && p.frozen {
			p.frozen, p.since, w.thawed = false, w.now, w.now
			for _, hear := range p.late {
				hear()
			}
			p.late = nil
			w.thaw(p)
		}
		if p.up && p.cut {
			p.cut, p.since, w.cutOff = false, w.now, w.now
			w.do(p, p.machine.Connect(w.now, true))
		}
	}
	if t != nil {
		w.pause(t, 500)
	}
}

// rest lets everything settle and checks that all nodes have the right count.
func (w *world) rest() {
	w.heal(nil)
	w.step = 100 * time.Millisecond
	w.advance(healedBy)
	truth, unnamed := map[string]bool{}, 0
	for _, p := range w.places {
		if p.up {
			for _, id := range clients {
				truth[id] = truth[id] || p.table.Has(room, id)
			}
			unnamed += len(p.unnamed)
		}
	}
	users := unnamed
	for _, there := range truth {
		if there {
			users++
		}
	}
	for _, p := range w.places {
		if !p.up || !p.opened {
			continue
		}
		for _, id := range clients {
			if got := p.machine.Counts(room, id); got != truth[id] {
				w.Fatalf("at rest: %s counts %s: %v, want %v", p.name, id, got, truth[id])
			}
		}
		if got, _ := p.machine.Count(room); got != users {
			w.Fatalf("at rest: %s counts %d, want %d", p.name, got, users)
		}
		for _, one := range p.machine.Nodes(w.now) {
			if one.Lag > 0 {
				w.Fatalf("at rest: %s does not know the set of %s", p.name, one.Node)
			}
		}
	}
}

// check checks every node that can know the right count.
func (w *world) check() {
	if w.lossy || w.now.Sub(w.lost) < healedBy && !w.lost.IsZero() {
		return
	}
	for _, o := range w.places {
		if !o.opened || !w.reliable(o) || w.now.Sub(o.openedAt) < 1300*time.Millisecond {
			continue
		}
		named := 0
		for _, id := range clients {
			counts := o.machine.Counts(room, id)
			switch {
			case counts && !w.may(id, o):
				w.Fatalf("%s counts %s, which is nowhere", o.name, id)
			case counts && o.heard[id].After(w.joined[id]) && o.heard[id].Sub(o.since) > time.Second && w.bade[id].After(w.joined[id]) && w.bade[id].After(w.cutOff) && w.noneCut() &&
				w.bade[id].Sub(w.before[id]) > 6*time.Second && w.bade[id].Sub(w.joined[id]) > w.again(id) && !w.startedAt(w.bade[id]): // otherwise it may have come back after the earlier goodbye, see room.again
				w.Fatalf("%s counts %s, and has heard its goodbye", o.name, id)
			case !counts && w.must(id, o):
				w.Fatalf("%s does not count %s, which is there", o.name, id)
			}
			if counts {
				named++
			}
		}
		got, _ := o.machine.Count(room)
		if want, ok := w.unnamed(); ok && got != named+want {
			w.Fatalf("%s counts %d, want %d with an id and %d without", o.name, got, named, want)
		}
	}
}

// must reports whether a node with complete knowledge must count the user.
func (w *world) must(id string, o *place) bool {
	bade := w.bade[id]
	if o.heard[id].Sub(bade) > maxDelay && w.now.Sub(o.heard[id]) < 6*time.Second {
		return false // it received the goodbye when it thawed, and cannot know its age
	}
	if (!w.noneCut() || w.cutOff.After(bade)) && w.now.Sub(bade) < 6*time.Second {
		return false // not all nodes have received the goodbye
	}
	for _, p := range w.places {
		since, holds := p.held[id]
		knows := p.since.Before(bade) || w.now.Sub(bade) > 6*time.Second // it sends this, or the goodbye has expired
		if holds && w.reliable(p) && since.After(bade) && (knows || p.began.Sub(bade) > maxDelay) && (p == o || w.now.Sub(since) >= w.toldBy()) {
			return true
		}
	}
	k, joined := w.kept[id], w.joined[id]
	if o.openedAt.After(k.from) && w.trouble.After(k.from) {
		return false // the node that could have sent it may have ended in the meantime
	}
	return w.noneCut() && w.cutOff.Before(k.from) && w.now.Sub(k.from) > maxDelay+w.step && w.now.Before(k.until) && !bade.After(k.from) &&
		(!joined.After(k.from) || w.now.Sub(joined) < w.toldBy())
}

// may reports whether a node may count the user.
func (w *world) may(id string, o *place) bool {
	if w.now.Before(w.most[id].Add(time.Second + 600*time.Millisecond)) {
		return true
	}
	for _, p := range w.places {
		switch {
		case p.up && p.serves() && !p.cut && !w.reliable(p):
			return true // the others need not know its set yet
		case !p.serves() && !p.stopped || p.cut:
			if !w.dead(p) && (p.holds(id, p.good.Add(-w.toldBy())) || o.since.Add(reliableBy).After(p.ended)) {
				return true
			}
		case p.holds(id, w.now.Add(-w.toldBy())):
			return true
		}
	}
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
