package union_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"pgregory.net/rapid"

	"headcount/internal/cluster/union"
	"headcount/internal/presence"
)

const (
	room     = "lobby"
	side     = "side"                 // another room, with users but without streams
	maxDelay = 120 * time.Millisecond // of a message
	linger   = 2 * time.Second
	lease    = 6 * time.Second
	handover = 6 * time.Second // time for users to come back after their node stops
)

var clients = []string{"client-0", "client-1", "client-2", "client-3", "client-4"}

// world is the nodes, the network between them, and the promises of nodes that have stopped.
type world struct {
	*rapid.T
	random   *rand.Rand
	now      time.Time
	step     time.Duration // between two ticks
	nodes    []*node
	letters  []letter // sorted by their due time
	lossy    bool     // messages are lost, duplicated or reordered
	lost     time.Time
	thawed   time.Time // when a node last thawed
	promises map[string]promise
	bade     map[string]time.Time // when a user last said goodbye
}

// promise is the time in which a user of a stopped node must be counted, and until when it may be.
type promise struct {
	from, must, may time.Time
	whole, cutShort time.Time     // the end before any return or goodbye, and when the last one was
	unread          time.Duration // length of an earlier promise that a frozen node has not read yet
}

// node is a node with its users.
type node struct {
	name    string
	machine *union.Machine
	table   *presence.Table
	up      bool
	frozen  bool
	cut     bool      // off from the network
	since   time.Time // when it started, thawed or reconnected
	sick    time.Time // when it last stopped being sound
	ended   time.Time // when it last fell silent
	thawed  time.Time

	opened  time.Time // when it opened the room; zero while it is closed
	empty   time.Time // when the room last had a user
	streams map[string][]*presence.Ticket
	unnamed []*presence.Ticket
	aside   map[string]bool      // users in the other room; nil while it is closed
	shown   map[string]int       // count of each room as its readers know it
	settled time.Time            // when the number of streams without an id last changed
	held    map[string]time.Time // since when the node has a user
	last    map[string]time.Time // when the node last had a user
	leaves  map[string]time.Time // when a goodbye with a grace period is due

	late    []func()             // what happens to it when it thaws
	arrived map[string]time.Time // when the last message of a node arrives here
}

// letter is a message in transit.
type letter struct {
	at      time.Time
	to      *node
	payload []byte
}

type quiet struct{}

func (quiet) Left() {}

func (quiet) Ticket() *presence.Ticket { return new(presence.Ticket) }

func newWorld(t *rapid.T) *world {
	w := &world{
		T: t, random: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), now: time.Unix(1e9, 0),
		step: 50 * time.Millisecond, promises: map[string]promise{}, bade: map[string]time.Time{},
	}
	for range 3 {
		w.startOne()
	}
	w.advance(time.Second)
	return w
}

func (w *world) startOne() {
	number := uint64(len(w.nodes) + 1)
	n := &node{
		name: fmt.Sprintf("node%02d", number), table: presence.NewJournaled(linger), up: true, since: w.now, sick: w.now,
		streams: map[string][]*presence.Ticket{}, held: map[string]time.Time{}, last: map[string]time.Time{},
		leaves: map[string]time.Time{}, arrived: map[string]time.Time{}, shown: map[string]int{},
	}
	n.machine = union.New(union.Options{Node: n.name, Incarnation: number * 1000, Key: []byte("key"), Chunk: 3, HasStream: n.table.HasStream})
	w.nodes = append(w.nodes, n)
	w.do(n, n.machine.Connect(w.now, true))
}

func (n *node) serves() bool { return n.up && !n.frozen }

// when does what happens to a node, or does it when the node thaws.
func (n *node) when(do func()) {
	switch {
	case n.frozen:
		n.late = append(n.late, do)
	case n.up:
		do()
	}
}

// update passes the table of the node to its machine, as the engine does after each change.
func (w *world) update(n *node) {
	left, joined, unnamed := n.table.TakeChanges(room)
	slices.Sort(left)
	slices.Sort(joined)
	if n.opened.IsZero() && n.table.Count(room) > 0 {
		n.opened = w.now
		ids, unnamed := n.table.Members(room)
		slices.Sort(ids)
		w.about(n, room, n.machine.Open(w.now, room, append(ids, joined...), unnamed))
	} else {
		w.about(n, room, n.machine.Local(w.now, room, left, joined, unnamed))
	}
	w.record(n)
}

// record records which users the node has.
func (w *world) record(n *node) {
	if n.table.Count(room) > 0 {
		n.empty = w.now
	}
	for _, id := range clients {
		if !n.table.Has(room, id) {
			delete(n.held, id)
			continue
		}
		n.last[id] = w.now
		if n.held[id].IsZero() {
			n.held[id] = w.now
		}
	}
}

// leave removes a user from a node's table, now or after the grace period.
func (w *world) leave(n *node, id string, grace time.Duration) {
	if grace > 0 {
		n.leaves[id] = w.now.Add(grace)
		return
	}
	w.record(n)
	n.table.Leave(room, id)
	delete(n.streams, id)
	delete(n.held, id)
	w.update(n)
}

// about performs the effects of a call for one room, whose caller shows only the count of that room.
func (w *world) about(n *node, key string, e union.Effects) {
	e.Changes = slices.DeleteFunc(e.Changes, func(c union.Change) bool { return c.Room != key })
	w.do(n, e)
}

// has reports whether the node has a room open. An empty key is every node.
func (n *node) has(key string) bool {
	return key == "" || key == room && !n.opened.IsZero() || key == side && n.aside != nil
}

// do performs the effects of the node's machine.
func (w *world) do(n *node, e union.Effects) {
	for _, c := range e.Changes {
		n.shown[c.Room], _ = n.machine.Count(c.Room)
	}
	for _, out := range e.Send {
		for _, to := range w.nodes {
			if to != n && to.up && (out.To.Node == "" || out.To.Node == to.name) && to.has(out.To.Room) && !n.cut {
				w.post(n, to, union.Append(nil, out.Message))
			}
		}
	}
	for _, c := range e.Changes {
		for _, id := range c.Renewed {
			w.renew(n, id)
		}
		for _, id := range c.Left {
			w.leave(n, id, c.Grace)
		}
	}
}

// post sends a message. Messages from one node to another stay in order unless the network is lossy.
func (w *world) post(n, to *node, payload []byte) {
	times := 1
	if w.lossy {
		times = [...]int{0, 1, 1, 1, 1, 1, 1, 1, 1, 2}[w.random.IntN(10)]
	}
	for range times {
		at := w.now.Add(time.Duration(w.random.Int64N(int64(maxDelay))))
		if w.lossy && w.random.IntN(10) == 0 {
			at = at.Add(time.Duration(w.random.Int64N(int64(time.Second))))
		} else {
			if at.Before(to.arrived[n.name]) {
				at = to.arrived[n.name]
			}
			to.arrived[n.name] = at
		}
		i := len(w.letters)
		for i > 0 && w.letters[i-1].at.After(at) {
			i--
		}
		w.letters = slices.Insert(w.letters, i, letter{at, to, payload})
	}
}

// deliver delivers a message.
func (w *world) deliver(l letter) {
	if l.to.cut {
		return
	}
	msg, rest, err := union.Decode(l.payload)
	if err != nil || len(rest) > 0 {
		w.Fatalf("decode %x: got %v and %d bytes more", l.payload, err, len(rest))
	}
	l.to.when(func() { w.do(l.to, l.to.machine.Apply(w.now, msg)) })
}

// advance advances the time.
func (w *world) advance(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		next := w.now.Truncate(w.step).Add(w.step)
		if len(w.letters) > 0 && !w.letters[0].at.After(next) {
			l := w.letters[0]
			w.letters = w.letters[1:]
			if l.at.After(w.now) {
				w.now = l.at
			}
			w.deliver(l)
		} else {
			w.now = next
			for _, n := range w.nodes {
				if n.serves() {
					w.tick(n)
				}
			}
		}
		w.check()
	}
}

func (w *world) tick(n *node) {
	for _, id := range clients {
		if at := n.leaves[id]; !at.IsZero() && !w.now.Before(at) {
			delete(n.leaves, id)
			w.leave(n, id, 0)
		}
	}
	w.record(n)
	if len(n.table.Expire(w.now)) > 0 {
		w.update(n)
	}
	w.do(n, n.machine.Tick(w.now))
}
