package union_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestModel checks the invariants of the machine after every step, for any actions of users and any trouble of nodes and
// of the network:
//
//   - A user that some node holds is in the count of every sound node, from the time in which the node's change arrives
//     there, at every moment. A user who moves is held by both nodes for a while, so it never vanishes.
//   - The users of a stopped node are in it for their time, or until they are held elsewhere.
//   - Nobody else is in it, and nobody twice.
//   - At rest all nodes have the same count, and it is the truth.
//   - In each of two rooms, a node knows that its count changes, so its readers see the count that it has.
//
// What can be seen is a number. It must be at least the users who must be in it, and at most those who may be.
//
// A node is sound if it runs and is connected, and has done so for [soundAfter]. The others know the set of a sound node. What
// they know of another one may be old, until it counts as silent. While messages get lost without a trace, and until the
// next digest, only the truth at rest is checked.
func TestModel(t *testing.T) { rapid.Check(t, model) }

// FuzzModel runs TestModel for a longer time.
func FuzzModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(model)) }

const (
	// soundAfter is the time after which a node that starts, thaws or reconnects knows all others, and they know it.
	soundAfter = 2500 * time.Millisecond
	// goneAfter is the time after which nobody counts the users of a node that says nothing.
	goneAfter = 4700*time.Millisecond + maxDelay + 100*time.Millisecond
	// repairedAfter is the time after which nodes know what they missed, by a digest or because there is none.
	repairedAfter = 75 * time.Second
)

func model(t *rapid.T) {
	w := newWorld(t)
	t.Repeat(map[string]func(*rapid.T){
		"open":         w.open,
		"open unnamed": w.openUnnamed,
		"move":         w.move,
		"move again":   w.move,
		"other room":   w.inside,
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

// told is the time in which a change of a node reaches all others. It is the pace, two ticks and the delay.
func (w *world) told() time.Duration { return 100*time.Millisecond + 2*w.step + maxDelay }

// sound reports whether the others know the set of a node, and the node theirs.
func (w *world) sound(n *node) bool {
	return n.serves() && !n.cut && w.now.Sub(n.since) >= soundAfter
}

func (w *world) allSound() bool {
	return !slices.ContainsFunc(w.nodes, func(n *node) bool { return !w.sound(n) && (n.up || w.now.Sub(n.ended) < goneAfter) })
}

// allHear reports whether all nodes hear that a user of a stopped node is back. Those that have the room open do.
func (w *world) allHear() bool {
	return w.allSound() && !slices.ContainsFunc(w.nodes, func(n *node) bool { return n.up && n.opened.IsZero() })
}

// must reports whether a sound node must count the user.
func (w *world) must(o *node, id string) bool {
	for _, n := range w.nodes {
		since, holds := n.held[id]
		if holds && (n == o || w.sound(n) && w.now.Sub(since) >= w.told()) {
			return true
		}
	}
	p := w.promises[id]
	return o.since.Before(p.from) && w.now.Sub(p.from) >= w.told() && w.now.Before(p.must)
}

// may reports whether a sound node may count the user.
func (w *world) may(o *node, id string) bool {
	for _, n := range w.nodes {
		last, had := n.last[id]
		switch {
		case !had:
		case w.now.Sub(last) <= w.told():
			return true
		case !w.sound(n) && !last.Before(n.sick.Add(-w.told())) && (n.up && !n.frozen && !n.cut || w.now.Sub(n.ended) < goneAfter || w.now.Sub(o.thawed) < goneAfter):
			return true // it cannot tell the others, or has just told them
		}
	}
	p := w.promises[id]
	if w.thawed.After(p.from) { // that node read the promise then, and may have repeated it
		return w.now.Before(later(p.may, w.thawed.Add(max(p.may.Sub(p.from), p.unread))))
	}
	return w.now.Before(p.may)
}

// unnamed returns how many streams without an id a node must count at least and at most.
func (w *world) unnamed(o *node) (least, most int) {
	for _, n := range w.nodes {
		switch {
		case n == o || w.sound(n) && w.now.Sub(n.settled) >= w.told():
			least, most = least+len(n.unnamed), most+len(n.unnamed)
		case n.up || w.now.Sub(n.sick) < w.told() || w.now.Sub(n.ended) < goneAfter || w.now.Sub(o.thawed) < goneAfter:
			most += maxUnnamed
		}
	}
	return least, most
}

// check checks the counts of all nodes that show them, and of sound nodes.
func (w *world) check() {
	for _, n := range w.nodes {
		for _, key := range []string{room, side} {
			if got, open := n.machine.Count(key); n.up && open && got != n.shown[key] {
				w.Fatalf("%s: %s shows %d in %s, want %d", w.now.Format("05.000"), n.name, n.shown[key], key, got)
			}
		}
	}
	if w.lossy || w.now.Sub(w.lost) < repairedAfter && !w.lost.IsZero() {
		return
	}
	for _, o := range w.nodes {
		if o.opened.IsZero() || !w.sound(o) || w.now.Sub(o.opened) < soundAfter/2 {
			continue
		}
		least, most := w.unnamed(o)
		for _, id := range clients {
			must, may := w.must(o, id), w.may(o, id)
			if must && !may {
				w.Fatalf("the model contradicts itself: %s must count %s, and may not", o.name, id)
			}
			if must {
				least++
			}
			if may {
				most++
			}
		}
		if got, _ := o.machine.Count(room); got < least || got > most {
			w.Fatalf("%s: %s counts %d, want %d to %d", w.now.Format("05.000"), o.name, got, least, most)
		}
	}
}

// rest lets everything settle and checks that all nodes have the right count.
func (w *world) rest() {
	w.heal(nil)
	w.advance(5 * time.Second)
	w.step = time.Second / 4
	w.advance(repairedAfter)
	want, beside := 0, 0
	for _, id := range clients {
		if slices.ContainsFunc(w.nodes, func(n *node) bool { return n.up && n.table.Has(room, id) }) {
			want++
		}
		if slices.ContainsFunc(w.nodes, func(n *node) bool { return n.up && n.aside[id] }) {
			beside++
		}
	}
	for _, n := range w.nodes {
		if n.up {
			want += len(n.unnamed)
		}
	}
	for _, n := range w.nodes {
		if got, open := n.machine.Count(room); n.up && open && got != want {
			w.Fatalf("at rest: %s counts %d, want %d", n.name, got, want)
		}
		if got, open := n.machine.Count(side); n.up && open && got != beside {
			w.Fatalf("at rest: %s counts %d in the other room, want %d", n.name, got, beside)
		}
		if !n.up || n.opened.IsZero() {
			continue
		}
		for _, one := range n.machine.Nodes(w.now) {
			if one.Lag > 0 {
				w.Fatalf("at rest: %s does not know the set of %s", n.name, one.Name)
			}
		}
	}
}
