package hub

import (
	"bytes"
	"strconv"
	"time"

	"headcount/internal/sse"
)

// JoinOptions describes a new subscriber.
type JoinOptions struct {
	ClientID string        // "" = none; then io:gap is the only io: signal it gets
	Cursor   string        // Last-Event-ID, "" = none
	Retry    time.Duration // how long it should wait before it reconnects
	Chunked  bool          // frames come as HTTP/1.1 chunks
	Ping     int           // seconds between the pings it must answer, 0 = none
	Newcomer bool          // joining changes a state, and it must see that first; always so for a stream

	Heartbeat time.Duration // longest silence that it should expect
	// Prefix is sent before everything else, unframed. It is a response header.
	Prefix []byte
}

// Sub is one subscriber of a room. It is for one goroutine at a time.
type Sub struct {
	room    *Room
	pos     Position
	unsent  *unsent // nil for an idle subscriber, so that it is small
	chunked bool
	signals bool
	over    bool // the farewell was the last frame
}

// unsent is what a subscriber has only at times.
type unsent struct {
	rest []byte // what must go out first, the opening or the rest of a frame

	// wants is the cursor of a subscriber in a room that is not loaded yet. The hub does not know yet whether it is
	// valid. Until then the subscriber gets states only.
	wants *Cursor
}

func (s *Sub) rest() []byte {
	if s.unsent == nil {
		return nil
	}
	return s.unsent.rest
}

func (s *Sub) wants() *Cursor {
	if s.unsent == nil {
		return nil
	}
	return s.unsent.wants
}

func (s *Sub) setRest(p []byte)   { s.become(unsent{p, s.wants()}) }
func (s *Sub) setWants(c *Cursor) { s.become(unsent{s.rest(), c}) }

// become does not keep a pointer to u, because then each delivery would allocate one.
func (s *Sub) become(u unsent) {
	switch {
	case len(u.rest) == 0 && u.wants == nil:
		s.unsent = nil
	case s.unsent == nil:
		s.unsent = &unsent{u.rest, u.wants}
	default:
		*s.unsent = u
	}
}

// Join adds a subscriber to the room. Its first batch begins with the prefix, the retry time within the first event's
// block, io:hello, io:gap if it missed events, and the latest value of every state. The history after the cursor
// follows.
func (r *Room) Join(who JoinOptions) *Sub {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &Sub{room: r, chunked: who.Chunked, signals: who.ClientID != ""}
	missed := s.resume(who.Cursor)
	s.pos.Version = r.version
	id := s.appendCursorAt(nil, s.pos)
	open := sse.AppendRetry(make([]byte, 0, 512), who.Retry)
	open = appendHello(open, id, who, s.resumed(who.Cursor, missed))
	open = appendGap(open, id, missed)
	open = r.appendStates(open, id)

	const chunk = 10 // bytes around the opening
	rest := append(make([]byte, 0, len(who.Prefix)+len(open)+chunk), who.Prefix...)
	if s.chunked {
		rest = sse.AppendChunk(rest, open)
	} else {
		rest = append(rest, open...)
	}
	s.setRest(rest)
	return s
}

// Poll adds a subscriber that gets one finite answer. The answer is the opening that Poll returns, and then the first
// batch of [Sub.Pending] that is not empty. Unlike a stream, it does not get a state again that its cursor contains,
// unless it is a newcomer. news reports whether the opening holds something that the client did not have.
func (r *Room) Poll(who JoinOptions) (s *Sub, opening []byte, news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s = &Sub{room: r, signals: who.ClientID != ""}
	missed := s.resume(who.Cursor)
	known := missed == "" && !who.Newcomer && s.pos.Version > 0 && s.pos.Version <= r.version
	if !known {
		s.pos.Version = r.version
	}
	id := s.appendCursorAt(nil, s.pos)
	opening = appendHello(sse.AppendRetry(nil, who.Retry), id, who, s.resumed(who.Cursor, missed))
	if !known {
		opening = r.appendStates(appendGap(opening, id, missed), id)
	}
	return s, opening, !known
}

// resume sets the position of the subscriber to its cursor, and returns how many events it has missed until then. This
// is a number, "null" if the number is unknown, or "" if it has missed none.
func (s *Sub) resume(cursor string) (missed string) {
	s.pos = Position{Seq: s.room.seq, generation: s.room.generation}
	if cursor == "" {
		return ""
	}
	if c, ok := ParseCursor(cursor); ok {
		missed = s.place(c)
	} else {
		missed = s.startOver()
	}
	if missed != "" {
		s.room.hub.gaps.Add(1)
	}
	return missed
}

// resumed reports whether the hub knows that the subscriber continues at its cursor. The room need not be loaded yet.
func (s *Sub) resumed(cursor, missed string) bool {
	return cursor != "" && missed == "" && s.wants() == nil
}

func (s *Sub) place(c Cursor) (missed string) {
	r := s.room
	if !r.loaded {
		s.setWants(&c)
		s.pos.Version = r.versionIn(c)
		// No two of them have the same position, see Sub.Position.
		r.unsettled++
		s.pos.generation = -r.unsettled
		return ""
	}
	p, known := r.position(c)
	switch {
	case !known || p.Seq > max(r.seq, r.hub.tip.Load(), r.expected) || p.Seq < r.base:
		return s.startOver()
	case p.Seq < r.forgotten:
		s.pos.Seq = r.forgotten
		return r.missedBy(p)
	}
	s.pos = p
	return ""
}

// startOver sets a subscriber with an unusable cursor to the beginning of the history.
func (s *Sub) startOver() (missed string) {
	s.pos.Seq = s.room.forgotten
	return "null"
}

// missedBy returns how many events a subscriber at p cannot get any more, if that is known. In a sequence that rooms
// share, the hub does not know to which room the dropped events belonged. A sequence that starts anew tells nothing
// about the one before.
func (r *Room) missedBy(p Position) string {
	if r.hub.opt.Source != nil || p.generation != r.generation {
		return "null"
	}
	return strconv.FormatUint(r.forgotten-p.Seq, 10)
}

// appendHello greets a subscriber with a client id. If the client resumed and has missed nothing, it learns that here,
// before anything else.
func appendHello(dst, id []byte, who JoinOptions, recovered bool) []byte {
	if who.ClientID == "" {
		return dst
	}
	hello := strconv.AppendQuote([]byte(`{"id":`), who.ClientID) // letters, digits, - and _
	hello = strconv.AppendInt(append(hello, `,"ping":`...), int64(who.Ping), 10)
	hello = strconv.AppendFloat(append(hello, `,"heartbeat":`...), who.Heartbeat.Seconds(), 'f', -1, 64)
	if recovered {
		hello = append(hello, `,"recovered":true`...)
	}
	hello = append(hello, '}')
	return sse.Append(dst, &sse.Event{ID: id, Event: []byte(sse.Hello), Data: hello})
}

// appendGap reports how many events were missed, if any were.
func appendGap(dst, id []byte, missed string) []byte {
	if missed == "" {
		return dst
	}
	return sse.Append(dst, &sse.Event{ID: id, Event: []byte(sse.Gap), Data: []byte(`{"missed":` + missed + `}`)})
}

// appendStates appends the newest value of every state, published or not. Their id is the position of the subscriber. A
// client that resumes with it misses nothing.
func (r *Room) appendStates(dst, id []byte) []byte {
	for _, s := range r.states {
		dst = sse.Append(dst, &sse.Event{ID: id, Event: []byte(s.name), Data: s.value})
	}
	return dst
}

// States appends the newest value of every state again, with the cursor of the subscriber.
func (s *Sub) States(dst []byte) []byte {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	return s.room.appendStates(dst, s.appendCursor(nil))
}

// Cursor returns the id of the last event that the subscriber has got.
func (s *Sub) Cursor() string {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	return string(s.appendCursor(nil))
}

// appendCursor appends the id of the subscriber's position. The caller holds the mu of the room.
func (s *Sub) appendCursor(dst []byte) []byte {
	r := s.room
	if s.wants() != nil {
		return s.appendCursorAt(dst, s.pos)
	}
	if s.pos.generation != r.generation {
		return r.appendCursor(dst, Position{Seq: r.forgotten}) // Pending will report the gap
	}
	// In a shared sequence a quiet room advances too. The cursors there must advance with it, or they become older than
	// the history.
	if s.pos.Seq >= r.forgotten && len(r.history.after(s.pos.Seq)) == 0 {
		s.pos.Seq = max(s.pos.Seq, r.seq)
	}
	return r.appendCursor(dst, s.pos)
}

// appendCursorAt appends the cursor of p. While the hub does not know whether the subscriber's own cursor is valid, it
// appends that cursor with the version of this node's states, because the subscriber is here now.
func (s *Sub) appendCursorAt(dst []byte, p Position) []byte {
	wants := s.wants()
	if wants == nil {
		return s.room.appendCursor(dst, p)
	}
	return Cursor{Epoch: wants.Epoch, Seq: wants.Seq, Node: s.room.hub.node, Version: p.Version}.Append(dst)
}

// resolve checks the cursor that the subscriber joined with, once that is possible. The caller holds the mu of the room.
func (s *Sub) resolve() {
	wants, at := s.wants(), s.pos
	if wants == nil || !s.room.loaded {
		return
	}
	s.setWants(nil)
	s.pos = Position{Seq: s.room.seq, generation: s.room.generation}
	if missed := s.place(*wants); missed != "" {
		s.pos.generation = at.generation // not usable, as pending will report
	}
	s.pos.Version = at.Version // what it has got here
}

// Room returns the room of the subscriber.
func (s *Sub) Room() *Room { return s.room }

// Chunked reports whether the frames of the subscriber are HTTP/1.1 chunks.
func (s *Sub) Chunked() bool { return s.chunked }

// Position returns how far the subscriber is, not counting the rest of a frame. All subscribers at the same position
// have the same bytes pending.
func (s *Sub) Position() Position { return s.pos }

// Clean reports whether the last write ended at the end of a frame.
func (s *Sub) Clean() bool { return len(s.rest()) == 0 }

// Pending fills b with what the subscriber still has to get, at most about 64 KiB or one event, and reports whether
// there is anything. The next call returns more, after [Sub.Advance].
func (s *Sub) Pending(b *Batch) bool {
	if s.over {
		return s.Rest(b)
	}
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.resolve()
	s.Rest(b)
	if s.wants() != nil {
		s.pendingStates(b)
	} else {
		s.room.pending(b, s.pos, s.chunked)
	}
	return len(b.Bytes) > 0
}

// Rest fills b with the rest of a frame, and reports whether there is anything. Urgent bytes need not wait for all of
// [Sub.Pending].
func (s *Sub) Rest(b *Batch) bool {
	b.reset()
	if rest := s.rest(); len(rest) > 0 {
		b.add(rest, s.pos)
	}
	return len(b.Bytes) > 0
}

// Signals reports whether the subscriber has a client id, and so gets io:ping instead of comments.
func (s *Sub) Signals() bool { return s.signals }

// Heartbeat fills b with a heartbeat. It is a comment, or io:ping for a subscriber with a client id. Call it when
// [Sub.Pending] had nothing.
func (s *Sub) Heartbeat(b *Batch) {
	if !s.signals {
		s.Comment(b)
		return
	}
	s.room.mu.Lock()
	id := s.appendCursor(make([]byte, 0, 64))
	s.room.mu.Unlock()
	s.fill(b, sse.Append(make([]byte, 0, 128), &sse.Event{ID: id, Event: []byte(sse.Ping), Data: []byte("null")}))
}

// Comment fills b with a comment, which clients ignore. Call it when [Sub.Pending] had nothing.
func (s *Sub) Comment(b *Batch) {
	s.fill(b, []byte(sse.Comment))
}

// fill fills b with a frame that only this subscriber gets. It uses the memory of the frame before, because the
// heartbeats of many streams would be much garbage.
func (s *Sub) fill(b *Batch, p []byte) {
	b.reset()
	if s.chunked {
		b.own = sse.AppendChunk(b.own[:0], p)
	} else {
		b.own = append(b.own[:0], p...)
	}
	b.owned = true
	b.add(b.own, s.pos)
}

// Farewell fills b with the end of a stream that ends cleanly. It has the retry time, and the last chunk if there are
// chunks. Send it only if [Sub.Clean] is true, and send nothing after it.
func (s *Sub) Farewell(b *Batch, retry time.Duration) {
	b.reset()
	s.over = true
	bye := sse.AppendRetry(nil, retry) // a field takes effect at its line, so no block need follow
	if s.chunked {
		bye = append(sse.AppendChunk(nil, bye), sse.LastChunk...)
	}
	// From now on only rest is sent. The farewell must not get lost if none of it can go out yet.
	s.setRest(bye)
	b.add(bye, s.pos)
}

// Advance notes that the first n bytes of b were sent to the subscriber. The rest of a frame then comes first, whatever
// happens in the room in the meantime.
func (s *Sub) Advance(b *Batch, n int) {
	if b.gap && n > len(s.rest()) {
		s.room.hub.gaps.Add(1)
	}
	for i, p := range b.Bytes {
		if n < len(p) {
			if n > 0 || len(s.rest()) > 0 && i == 0 {
				if b.owned {
					p = bytes.Clone(p)
				}
				s.setRest(p[n:])
				s.pos = b.after[i]
			}
			return
		}
		n -= len(p)
		s.setRest(nil)
		s.pos = b.after[i]
	}
}
