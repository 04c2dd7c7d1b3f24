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
	room      = "lobby"
	maxDelay  = 120 * time.Millisecond
	linger    = 2 * time.Second
	lease     = 6 * time.Second
	comesBack = 4 * time.Second // time for users to come back after their node stops

	// deadBy is the time after which nobody counts the users of a silent node.
	deadBy = 4700*time.Millisecond + maxDelay + 100*time.Millisecond
	// healedBy is the time after which a node has found out what it missed, by a digest or because there is none.
	healedBy = 75 * time.Second
	// reliableBy is the time after which a node that starts, thaws or reconnects knows everything, and the others know
	// its set.
	reliableBy = 2500 * time.Millisecond
)

var clients = []string{"client-0", "client-1", "client-2", "client-3", "client-4"}

// world is the nodes, the network between them, and the truth.
type world struct {
	*rapid.T
	random  *rand.Rand
	now     time.Time
	step    time.Duration // between two ticks
	places  []*place
	letters []letter // sorted by their due time
	lossy   bool     // messages are lost, duplicated or reordered
	lost    time.Time
	trouble time.Time // when a node last stopped, crashed or froze
	thawed  time.Time // when a node last thawed and received old heartbeats
	cutOff  time.Time // when a node was last cut off or reconnected

	joined map[string]time.Time // when a user last came to any node
	bade   map[string]time.Time // when it last said goodbye
	before map[string]time.Time // the goodbye before that
	kept   map[string]keep      // users that must be counted although their node has stopped
	most   map[string]time.Time // until when such a user may be counted
}

// keep is how long a user of a stopped node must be counted.
type keep struct{ from, until time.Time }

// place is a position where a node runs or has run.
type place struct {
	name    string
	machine *union.Machine
	table   *presence.Table
	up      bool
	frozen  bool
	cut     bool // cut off from the network
	stopped bool
	began   time.Time // when it started
	since   time.Time // when it started, thawed or reconnected
	ended   time.Time // when that ended
	good    time.Time // when the others last knew its set, if it was reliable then

	opened   bool // the room is open
	openedAt time.Time
	streams  map[string][]*presence.Ticket
	unnamed  []*presence.Ticket
	settled  time.Time            // when their number last changed
	held     map[string]time.Time // since when the table has a user
	dropped  map[string]time.Time // when the table last lost a user
	heard    map[string]time.Time // when the node received its goodbye
	leaves   map[string]time.Time // when a goodbye with a grace period is due

	late    []func()             // events that it handles when it thaws
	backlog []letter             // messages that it receives when it thaws
	last    map[string]time.Time // when the last message of a node arrives here
}

// letter is a message in transit.
type letter struct {
	at       time.Time
	from     string
	to       *place
	receiver string
	payload  []byte
}

// toldBy is the time until a node's change has reached all others. It is the pace, a tick and the delay.
func (w *world) toldBy() time.Duration { return 110*time.Millisecond + w.step + maxDelay }

type quiet struct{}

func (quiet) Left() {}

func newWorld(t *rapid.T) *world {
	w := &world{
		T: t, random: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), now: time.Unix(1e9, 0), step: 20 * time.Millisecond,
		joined: map[string]time.Time{}, bade: map[string]time.Time{}, before: map[string]time.Time{}, kept: map[string]keep{}, most: map[string]time.Time{},
	}
	for range 3 {
		w.startOne()
	}
	w.advance(time.Second)
	return w
}

func (w *world) startOne() {
	number := uint64(len(w.places) + 1)
	p := &place{
		name: fmt.Sprintf("node%02d", number), table: presence.NewJournaled(linger), up: true, began: w.now, since: w.now,
		streams: map[string][]*presence.Ticket{}, held: map[string]time.Time{}, dropped: map[string]time.Time{},
		heard: map[string]time.Time{}, leaves: map[string]time.Time{}, last: map[string]time.Time{},
	}
	p.machine = union.New(union.Options{Node: p.name, Incarnation: number * 1000, Key: []byte("key"), Chunk: 3})
	w.places = append(w.places, p)
	w.do(p, p.machine.Connect(w.now, true))
}

func (p *place) serves() bool { return p.up && !p.frozen }

// reliable reports whether a node's messages arrive, and whether its knowledge can be right.
func (w *world) reliable(p *place) bool {
	return p.serves() && !p.cut && w.now.Sub(p.since) >= reliableBy
}

// end records a disturbance of a node.
func (w *world) end(p *place) {
	if w.reliable(p) {
		p.good = w.now
	}
	p.ended = w.now
}

// dead reports whether nobody counts the users of a node that has ended or is silent.
func (w *world) dead(p *place) bool {
	return w.now.Sub(p.ended) >= deadBy && w.now.Sub(w.thawed) >= deadBy
}

func (w *world) serving() (n int) {
	for _, p := range w.places {
		if p.serves() && !p.cut {
			n++
		}
	}
	return n
}

func (w *world) noneCut() bool {
	return !slices.ContainsFunc(w.places, func(p *place) bool { return p.cut })
}

// again is how long a user who came back after a goodbye must wait before the next goodbye.
func (w *world) again(id string) time.Duration {
	if w.bade[id].Sub(w.before[id]) < 30*time.Second { // a node may have been frozen when it received the first
		return 600 * time.Millisecond
	}
	return 0
}

// startedAt reports whether a node was so young that others may not have heard of it yet.
func (w *world) startedAt(t time.Time) bool {
	return slices.ContainsFunc(w.places, func(p *place) bool { return p.began.Before(t) && t.Sub(p.began) < time.Second })
}

func (w *world) allReliable() bool {
	return !slices.ContainsFunc(w.places, func(p *place) bool { return p.up && !w.reliable(p) })
}

// holds reports whether the node has the user, or had it since.
func (p *place) holds(id string, since time.Time) bool {
	_, now := p.held[id]
	return now || p.dropped[id].After(since)
}

// unnamed returns how many subscribers without an id there are, if all nodes know the number.
func (w *world) unnamed() (sum int, ok bool) {
	for _, p := range w.places {
		if p.machine != nil && (!p.up && !w.dead(p) || p.up && (!w.reliable(p) || w.now.Sub(p.settled) < w.toldBy())) {
			return 0, false
		}
		if p.up {
			sum += len(p.unnamed)
		}
	}
	return sum, true
}

// told passes the table of the node to its machine, as the engine does after each change.
func (w *world) told(p *place) {
	left, joined, unnamed := p.table.TakeChanges(room)
	if !p.opened && p.table.Count(room) > 0 {
		p.opened, p.openedAt = true, w.now
		ids, unnamed := p.table.Members(room)
		slices.Sort(ids)
		w.do(p, p.machine.Open(w.now, room, ids, unnamed))
	} else {
		slices.Sort(left)
		slices.Sort(joined)
		w.do(p, p.machine.Local(w.now, room, left, joined, unnamed))
	}
	for _, id := range clients {
		_, held := p.held[id]
		switch has := p.table.Has(room, id); {
		case has && (!held || slices.Contains(left, id)):
			p.held[id] = w.now
		case !has && held:
			delete(p.held, id)
			p.dropped[id] = w.now
		}
	}
}

// leaveAt removes a user from a node's table, now or after the grace period.
func (w *world) leaveAt(p *place, id string, grace time.Duration) {
	if grace > 0 {
		p.leaves[id] = w.now.Add(grace)
		return
	}
	p.heard[id] = w.now
	p.table.Leave(room, id)
	delete(p.streams, id)
	w.told(p)
}

// do performs the effects of the node's machine.
func (w *world) do(p *place, e union.Effects) {
	for _, out := range e.Send {
		for _, to := range w.places {
			if to == p || !to.up || p.cut || to.cut || out.To.Node != "" && out.To.Node != to.name || out.To.Room != "" && !to.opened {
				continue
			}
			w.post(p, to, union.Append(nil, out.Message))
		}
	}
	for _, l := range e.Leave {
		for _, id := range l.IDs {
			w.leaveAt(p, id, l.Grace)
		}
	}
}

// post sends a message. Messages from one node to another stay in order unless the network is lossy.
func (w *world) post(p, to *place, payload []byte) {
	times := 1
	if w.lossy {
		times = [...]int{0, 1, 1, 1, 1, 1, 1, 1, 1, 2}[w.random.IntN(10)]
	}
	for range times {
		at := w.now.Add(time.Duration(w.random.Int64N(int64(maxDelay))))
		if w.lossy && w.random.IntN(10) == 0 {
			at = at.Add(time.Duration(w.random.Int64N(int64(time.Second))))
		} else if at.Before(to.last[p.name]) {
			at = to.last[p.name]
		}
		if !w.lossy {
			to.last[p.name] = at
		}
		l := letter{at, p.name, to, to.name, payload}
		i, _ := slices.BinarySearchFunc(w.letters, l, func(a, b letter) int {
			if a.at.After(b.at) {
				return 1
			}
			return -1 // after others with the same time
		})
		w.letters = slices.Insert(w.letters, i, l)
	}
}

// deliver delivers a message.
func (w *world) deliver(l letter) {
	p := l.to
	if !p.up || p.cut || p.name != l.receiver {
		return
	}
	if p.frozen {
		p.backlog = append(p.backlog, l)
		return
	}
	msg, rest, err := union.Decode(l.payload)
	if err != nil || len(rest) > 0 {
		w.Fatalf("decode %x: got %v and %d bytes more", l.payload, err, len(rest))
	}
	if g, ok := msg.(union.Goodbye); ok && g.Grace == 0 {
		for _, id := range clients {
			if union.Hash([]byte("key"), id) == g.Users[0] {
				p.heard[id] = w.now
			}
		}
	}
	w.do(p, p.machine.Apply(w.now, msg))
}

func (w *world) thaw(p *place) {
	backlog := p.backlog
	p.backlog = nil
	for _, l := range backlog {
		w.deliver(l)
	}
}

// advance advances the time.
func (w *world) advance(d time.Duration) {
	for end := w.now.Add(d); ; {
		next := w.now.Truncate(w.step).Add(w.step)
		if len(w.letters) > 0 && !w.letters[0].at.After(next) && !w.letters[0].at.After(end) {
			l := w.letters[0]
			w.letters = w.letters[1:]
			if l.at.After(w.now) {
				w.now = l.at
			}
			w.deliver(l)
			w.check()
			continue
		}
		if next.After(end) {
			w.now = end
			return
		}
		w.now = next
		for _, p := range w.places {
			if p.serves() {
				w.tick(p)
			}
		}
		w.check()
	}
}

func (w *world) tick(p *place) {
	for _, id := range clients {
		if at := p.leaves[id]; !at.IsZero() && !w.now.Before(at) {
			delete(p.leaves, id)
			p.table.Leave(room, id)
			delete(p.streams, id)
			w.told(p)
		}
	}
	if len(p.table.Expire(w.now)) > 0 {
		w.told(p)
	}
	w.do(p, p.machine.Tick(w.now))
}
