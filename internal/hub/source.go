package hub

import (
	"errors"
	"time"
)

// Source is where the events of a hub's rooms come from if they are not the hub's
// own: a log that several nodes share. Its sequence is what a [Position] counts in,
// one for all rooms, so that a cursor means the same on every node, and the events
// of one room have gaps between them.
//
// Both methods are called with the hub locked. They must not wait, nor call the hub.
type Source interface {
	// Watch is called when r begins to exist. Its history is to be brought by
	// [Room.Load], and what happens in it by [Room.Deliver].
	Watch(r *Room)
	// Unwatch is called when r ceases to exist.
	Unwatch(r *Room)
}

// ErrTooLarge means that a source takes no events of that size.
var ErrTooLarge = errors.New("event is too large")

// Event is an event that a [Source] brings.
type Event struct {
	Seq  uint64
	Time time.Time // when it was emitted
	Name string
	Data []byte // JSON
}

// Reset means that from now on the source counts in epoch, and that the last sequence
// there is tip. What every room has kept is forgotten, and who reads is told by an
// io:gap; the source loads the rooms again.
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
	r.tell()
}

// Advance means that the last sequence of the source is at least tip. A cursor up to there
// is not of the future, also if this node has heard of nothing behind it yet.
func (h *Hub) Advance(tip uint64) {
	for {
		old := h.tip.Load()
		if tip <= old || h.tip.CompareAndSwap(old, tip) {
			return
		}
	}
}

// Tip returns the last sequence of the source that is known.
func (h *Hub) Tip() uint64 { return h.tip.Load() }

// Load gives a room its history: events are all of its events that came after the
// sequence after, up to upTo. It is for rooms that nothing was delivered to.
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
	r.tell()
}

// Deliver adds the events that follow, those that the room has already left out.
// upTo is the sequence up to which they are all that there are.
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
		r.tell()
	}
}

// Lose means that the room may have had events up to upTo which nobody can bring any
// more: its readers are told, by an io:gap.
func (r *Room) Lose(upTo uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.history.frames); n > 0 {
		r.dropOldest(n)
	}
	r.seq, r.forgotten = max(r.seq, upTo), max(r.forgotten, upTo)
	r.tell()
}

// Expect means that a cursor up to seq is to be believed, though nobody can say now
// whether the source is that far: its reader gets what comes behind.
func (r *Room) Expect(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected = max(r.expected, seq)
}
