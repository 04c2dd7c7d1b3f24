package hub

import (
	"bytes"

	"headcount/internal/sse"
)

// Batch is what one write may send. The zero value is ready to use. Use it again and again, for any Sub, to save its
// memory.
type Batch struct {
	Bytes [][]byte   // in this order; must not be changed
	after []Position // after[i] is the subscriber's position once Bytes[i] is sent
	size  int
	gap   bool // it begins with an io:gap, after the rest of a frame

	own   []byte // memory for the bytes of a batch that only one subscriber gets
	owned bool   // Bytes is own
}

// Len returns how many bytes the batch holds.
func (b *Batch) Len() int { return b.size }

// Full reports whether there may be more than the batch could hold.
func (b *Batch) Full() bool { return b.size >= maxBatch }

func (b *Batch) reset() {
	clear(b.Bytes)
	b.Bytes, b.after, b.size, b.gap, b.owned = b.Bytes[:0], b.after[:0], 0, false, false
}

func (b *Batch) add(p []byte, after Position) {
	b.Bytes = append(b.Bytes, p)
	b.after = append(b.after, after)
	b.size += len(p)
}

// maxBatch is where a batch stops growing, in bytes. It is large enough to make system calls rare while a subscriber
// catches up, and small enough not to delay others.
const maxBatch = 64 << 10

// pending adds the frames after p. It merges history and states in their order.
func (r *Room) pending(b *Batch, p Position, chunked bool) {
	if p.generation != r.generation || p.Seq < r.forgotten {
		missed := r.missedBy(p)
		p = Position{Seq: r.forgotten, Version: r.version, generation: r.generation}
		id := r.appendCursor(nil, p)
		gap := r.appendStates(appendGap(nil, id, missed), id)
		if chunked {
			gap = sse.AppendChunk(nil, gap)
		}
		b.add(gap, p)
		b.gap = true
	}
	events := r.history.after(p.Seq)
	for _, s := range r.states {
		if s.shown == nil || s.shown.at.Version <= p.Version {
			continue
		}
		for len(events) > 0 && events[0].at.Seq <= s.shown.at.Seq && b.size < maxBatch {
			p.Seq = events[0].at.Seq
			b.add(events[0].bytes(chunked), p)
			events = events[1:]
		}
		if b.size >= maxBatch {
			return
		}
		p.Version = s.shown.at.Version
		b.add(r.stateAt(p, s.shown, chunked), p)
	}
	for len(events) > 0 && b.size < maxBatch {
		p.Seq = events[0].at.Seq
		b.add(events[0].bytes(chunked), p)
		events = events[1:]
	}
}

// pendingStates adds the states that are new to a subscriber of a room that is not loaded.
func (s *Sub) pendingStates(b *Batch) {
	p := s.pos
	for _, state := range s.room.states {
		if state.shown != nil && state.shown.at.Version > p.Version {
			p.Version = state.shown.at.Version
			b.add(state.shown.withID(s.appendCursorAt(nil, p), s.chunked), p)
		}
	}
}

// stateAt returns the frame of a state for a subscriber at p. If the subscriber is ahead of what this node has of a
// shared history, the id does not set it back.
func (r *Room) stateAt(p Position, f *frame, chunked bool) []byte {
	if p.Seq <= f.at.Seq {
		return f.bytes(chunked)
	}
	return f.withID(r.appendCursor(nil, p), chunked)
}

// withID returns the frame with another cursor.
func (f *frame) withID(id []byte, chunked bool) []byte {
	_, rest, _ := bytes.Cut(f.raw, []byte("\n"))
	own := append(append([]byte("id: "), id...), '\n')
	own = append(own, rest...)
	if chunked {
		own = sse.AppendChunk(nil, own)
	}
	return own
}
