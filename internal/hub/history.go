package hub

import (
	"cmp"
	"slices"
	"time"

	"headcount/internal/lockorder"
)

// A frame is an event as bytes, encoded once for all subscribers. It never changes once it is visible, except for the
// list links, which kept.mu guards.
type frame struct {
	at    Position // position of a subscriber that has got the frame
	chunk []byte   // one HTTP/1.1 chunk
	raw   []byte   // the part of chunk that is the event

	// Only for events of the history:
	room       *Room
	time       time.Time
	prev, next *frame
}

// bytes returns the frame in the form that a subscriber takes.
func (f *frame) bytes(chunked bool) []byte {
	if chunked {
		return f.chunk
	}
	return f.raw
}

// history is the last events of a room, oldest first.
type history struct {
	frames []*frame // at.Seq grows, by one each time unless a Source provides the events
}

func (r *history) add(f *frame) { r.frames = append(r.frames, f) }

// dropOldest drops the first n events.
func (r *history) dropOldest(n int) {
	clear(r.frames[:n]) // otherwise the array keeps what append has not moved yet
	r.frames = r.frames[n:]
	if len(r.frames) == 0 {
		r.frames = nil
	}
}

// after returns the events that come after seq.
func (r *history) after(seq uint64) []*frame {
	// Most subscribers are at the end, or one event before it.
	n := len(r.frames)
	if n == 0 || r.frames[n-1].at.Seq <= seq {
		return nil
	}
	if n == 1 || r.frames[n-2].at.Seq <= seq {
		return r.frames[n-1:]
	}
	i, _ := slices.BinarySearchFunc(r.frames, seq+1, func(f *frame, seq uint64) int {
		return cmp.Compare(f.at.Seq, seq)
	})
	return r.frames[i:]
}

// Memory that the process needs for an event in addition to its bytes, and for a room that exists only for its history.
// TestHistoryMemory measures both.
const (
	frameCost = 160
	roomCost  = 500
)

// kept holds the events of all rooms in the order in which they came, to bound their age and their memory together.
// This is necessary because any client with a token may name any number of rooms.
type kept struct {
	mu          lockorder.Mutex[lockorder.Leaf]
	first, last *frame
	events      int
	bytes       int64 // memory of the events and their rooms
}

func (k *kept) add(f *frame) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f.prev = k.last
	if k.last == nil {
		k.first = f
	} else {
		k.last.next = f
	}
	k.last = f
	k.events++
	k.bytes += int64(len(f.chunk)) + frameCost
}

func (k *kept) remove(f *frame) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f.prev == nil {
		k.first = f.next
	} else {
		f.prev.next = f.next
	}
	if f.next == nil {
		k.last = f.prev
	} else {
		f.next.prev = f.prev
	}
	f.prev, f.next = nil, nil
	k.events--
	k.bytes -= int64(len(f.chunk)) + frameCost
}

// room notes that a room starts or stops keeping events.
func (k *kept) room(begins bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if begins {
		k.bytes += roomCost
	} else {
		k.bytes -= roomCost
	}
}

// overdue returns the oldest event if it is older than t, or if all events together take more than limit bytes.
func (k *kept) overdue(t time.Time, limit int64) *frame {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.first != nil && (k.first.time.Before(t) || k.bytes > limit) {
		return k.first
	}
	return nil
}
