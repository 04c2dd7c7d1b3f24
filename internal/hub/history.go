package hub

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// A frame is an event as bytes, encoded once for all its readers. It never changes
// once it can be seen, but for the list links, which kept.mu guards.
type frame struct {
	at    Position // where a reader is that has got it
	chunk []byte   // one HTTP/1.1 chunk
	raw   []byte   // the part of chunk that is the event

	// For events of the history only:
	room       *Room
	time       time.Time
	prev, next *frame
}

// bytes returns the frame in the form that a reader takes.
func (f *frame) bytes(chunked bool) []byte {
	if chunked {
		return f.chunk
	}
	return f.raw
}

// history is the last events of a room, oldest first.
type history struct {
	frames []*frame // at.Seq grows; by one each time, but for events from a Source
}

func (r *history) add(f *frame) { r.frames = append(r.frames, f) }

// dropOldest forgets the first n events.
func (r *history) dropOldest(n int) {
	clear(r.frames[:n]) // or the array would hold what append has not yet moved
	r.frames = r.frames[n:]
	if len(r.frames) == 0 {
		r.frames = nil
	}
}

// after returns the events that come after seq.
func (r *history) after(seq uint64) []*frame {
	// Most readers are at the end, or one event before it.
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

// What the process needs for an event beside its bytes, and for a room that exists only
// for its history; TestHistoryMemory measures both.
const (
	frameCost = 160
	roomCost  = 500
)

// kept is the events of all rooms in the order in which they came, to bound their
// age and their memory together: anyone with the token may name any number of rooms.
type kept struct {
	mu          sync.Mutex // taken after a Room's mu, never before
	first, last *frame
	events      int
	bytes       int64 // what they and their rooms cost
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

// room notes that a room has begun or ceased to keep events.
func (k *kept) room(begins bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if begins {
		k.bytes += roomCost
	} else {
		k.bytes -= roomCost
	}
}

// overdue returns the oldest event if it is from before t or if all together are
// more than limit bytes.
func (k *kept) overdue(t time.Time, limit int64) *frame {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.first != nil && (k.first.time.Before(t) || k.bytes > limit) {
		return k.first
	}
	return nil
}
