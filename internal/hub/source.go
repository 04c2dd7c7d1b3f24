package hub

import (
	"errors"
	"time"
)

// Source provides the events of the rooms if they are not the hub's own. It is a log that several nodes share. Its
// sequence is what a [Position] counts in. There is one sequence for all rooms, so a cursor means the same on every
// node, and the sequence numbers of one room have gaps between them.
//
// Both methods are called with the hub locked. They must not wait or call the hub.
type Source interface {
	// Watch is called when r is created. The source must bring the history of r with [Room.Load], and new events with
	// [Room.Deliver].
	Watch(r *Room)
	// Unwatch is called when r is dropped.
	Unwatch(r *Room)
}

// ErrTooLarge means that a source does not accept events of that size.
var ErrTooLarge = errors.New("event is too large")

// Event is an event that a [Source] brings.
type Event struct {
	Seq  uint64
	Time time.Time // when it was emitted
	Name string
	Data []byte // JSON
}

// Reset means that the source counts in epoch from now on, and that the last sequence there is tip. All rooms drop
// their history, and their subscribers get an io:gap. The source loads the rooms again.
func (h *Hub) Reset(epoch string, tip uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epoch = epoch
	h.tip.Store(tip)
	for _, r := range h.rooms {
		r.reset(epoch)
	}
}

func (r *Room) reset(epoch string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.history.frames); n > 0 {
		r.dropOldest(n)
	}
	r.epoch, r.seq, r.forgotten, r.expected = epoch, 0, 0, 0
	r.loaded = r.hub.opt.Source == nil
	r.generation++
	r.notify()
}

// Advance means that the last sequence of the source is at least tip. A cursor up to there is not from the future, even
// if this node does not know an event at that place yet.
func (h *Hub) Advance(tip uint64) {
	for {
		old := h.tip.Load()
		if tip <= old || h.tip.CompareAndSwap(old, tip) {
			return
		}
	}
}

// Tip returns the last known sequence of the source.
func (h *Hub) Tip() uint64 { return h.tip.Load() }

// Load gives a room its history. events are all events of the room after the sequence after, up to and including upTo.
// It is for rooms that have got no deliveries yet.
func (r *Room) Load(after, upTo uint64, events []Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.history.frames) > 0 {
		return
	}
	seq := r.seq
	r.forgotten, r.loaded = after, true
	old := time.Now().Add(-r.hub.opt.HistoryAge)
	for _, e := range events {
		if e.Time.Before(old) {
			r.forgotten = e.Seq
			continue
		}
		r.add(e)
	}
	r.seq = max(seq, upTo, r.seq)
	r.notify()
}

// Deliver adds the following events and skips those that the room already has. There are no other events up to the
// sequence upTo.
func (r *Room) Deliver(upTo uint64, events ...Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := false
	for _, e := range events {
		if e.Seq > r.seq {
			r.add(e)
			news = true
		}
	}
	r.seq = max(r.seq, upTo)
	if news {
		r.pace.join(r)
		r.notify()
	}
}

// Lose means that the room may have had events up to upTo which no node can bring any more. Its subscribers get an
// io:gap.
func (r *Room) Lose(upTo uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.history.frames); n > 0 {
		r.dropOldest(n)
	}
	r.seq, r.forgotten = max(r.seq, upTo), max(r.forgotten, upTo)
	r.notify()
}

// Expect means that a cursor up to seq is valid, though no node can tell now whether the source is that far. The client
// with that cursor gets the events after it.
func (r *Room) Expect(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected = max(r.expected, seq)
}
