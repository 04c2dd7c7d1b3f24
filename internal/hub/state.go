package hub

import (
	"bytes"
	"slices"
	"time"

	"headcount/internal/sse"
)

// State is a hub as plain data for the successor process. Cursors of one hub are valid in the other.
type State struct {
	Epoch, Node    string
	Versions, Seqs uint64
	Rooms          []RoomState
}

// RoomState is a room of a [State].
type RoomState struct {
	Name                 string
	Seq, Base, Forgotten uint64
	Version              uint64
	History              []FrameState
	Values               []ValueState
}

// FrameState is an event as subscribers get it.
type FrameState struct {
	Seq, Version uint64
	Time         int64 // when it was emitted, in nanoseconds since 1970
	Event        []byte
}

// ValueState is a state of a room. It has the value, and the value as last published.
type ValueState struct {
	Name    string
	Value   []byte
	Version uint64
	Shown   *FrameState
}

// SubState is a subscriber, for [Room.Resume].
type SubState struct {
	Seq, Version     uint64
	Cursor           string // its cursor, with Options.Source
	Lost             bool   // it must still get an io:gap
	Rest             []byte // what must go out first
	Chunked, Signals bool
	Over             bool
}

// Export returns the hub as it is now. Its slices are shared with the hub and must not be changed.
func (h *Hub) Export() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	st := State{Epoch: h.epoch, Node: h.node, Versions: h.versions, Seqs: h.seqs, Rooms: make([]RoomState, 0, len(h.rooms))}
	for _, r := range h.rooms {
		st.Rooms = append(st.Rooms, r.export())
	}
	return st
}

func (r *Room) export() RoomState {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := RoomState{Name: r.name, Seq: r.seq, Base: r.base, Forgotten: r.forgotten, Version: r.version}
	for _, s := range r.states {
		v := ValueState{Name: s.name, Value: s.value, Version: s.version}
		if s.shown != nil {
			v.Shown = s.shown.export()
		}
		st.Values = append(st.Values, v)
	}
	if r.hub.opt.Source == nil { // otherwise the source keeps them
		for _, f := range r.history.frames {
			st.History = append(st.History, *f.export())
		}
	}
	return st
}

func (f *frame) export() *FrameState {
	return &FrameState{Seq: f.at.Seq, Version: f.at.Version, Time: f.time.UnixNano(), Event: f.raw}
}

// Import fills an unused hub. Its rooms are as if the last subscriber had just left. The events are in st, or come from
// Options.Source. Nodes of the same Source need the same Options.Node to accept each other's cursors.
func (h *Hub) Import(st State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.opt.Node == "" {
		h.node = st.Node
	}
	if h.opt.Source == nil {
		h.epoch = st.Epoch
	}
	h.versions, h.seqs = st.Versions, st.Seqs
	var frames []*frame
	for _, room := range st.Rooms {
		r := h.make(room.Name)
		h.idle[r] = time.Now()
		frames = append(frames, r.fill(room)...)
	}
	// The kept events are in the order in which they came, over all rooms.
	slices.SortStableFunc(frames, func(a, b *frame) int { return a.time.Compare(b.time) })
	for _, f := range frames {
		h.kept.add(f)
	}
}

// fill sets a new room to st, and returns its history.
func (r *Room) fill(st RoomState) []*frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range st.Values {
		s := &state{name: v.Name, value: v.Value, version: v.Version}
		if v.Shown != nil {
			s.shown = frameOf(*v.Shown)
		}
		r.states = append(r.states, s)
	}
	r.version = st.Version
	if r.hub.opt.Source == nil {
		r.fillHistory(st)
	}
	if slices.ContainsFunc(r.states, func(s *state) bool { return s.shown == nil || s.shown.at.Version != s.version }) {
		r.pace.due(r)
	}
	return r.history.frames
}

func (r *Room) fillHistory(st RoomState) {
	r.seq, r.base, r.forgotten = st.Seq, st.Base, st.Forgotten
	if over := len(st.History) - r.hub.opt.History; over > 0 {
		r.forgotten = st.History[over-1].Seq
		st.History = st.History[over:]
	}
	if len(st.History) > 0 {
		r.hub.kept.room(true)
	}
	for _, e := range st.History {
		f := frameOf(e)
		f.room, f.time = r, time.Unix(0, e.Time)
		r.history.add(f)
	}
}

func frameOf(st FrameState) *frame {
	return newFrame(Position{Seq: st.Seq, Version: st.Version}, st.Event)
}

// newFrame makes the frame of an event. A subscriber that has got it is at position at.
func newFrame(at Position, event []byte) *frame {
	chunk := sse.AppendChunk(make([]byte, 0, len(event)+10), event)
	start := bytes.IndexByte(chunk, '\n') + 1
	return &frame{at: at, chunk: chunk, raw: chunk[start : start+len(event)]}
}

// Export returns the state of the subscriber.
func (s *Sub) Export() SubState {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	st := SubState{
		Seq: s.pos.Seq, Version: s.pos.Version,
		Lost: s.wants() == nil && s.pos.generation != r.generation,
		Rest: s.rest(), Chunked: s.chunked, Signals: s.signals, Over: s.over,
	}
	if r.hub.opt.Source != nil {
		st.Cursor = string(s.appendCursor(nil))
	}
	return st
}

// Resume makes a subscriber that continues at st, byte by byte. The room belongs to a hub that got its state with
// [Hub.Import].
func (r *Room) Resume(st SubState) *Sub {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &Sub{room: r, chunked: st.Chunked, signals: st.Signals, over: st.Over}
	s.setRest(st.Rest)
	s.pos = Position{Seq: st.Seq, Version: st.Version, generation: r.generation}
	if st.Cursor != "" {
		r.unsettled++
		s.pos.generation = -r.unsettled // unique, because no two of them have the same position
	}
	if c, ok := ParseCursor(st.Cursor); ok && !st.Lost {
		s.setWants(&c)
	}
	s.resolve()
	return s
}
