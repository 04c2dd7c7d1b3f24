package hub

import (
	"bytes"
	"slices"
	"time"

	"headcount/internal/sse"
)

// State is a hub as plain data, for the process that goes on with it. Cursors of the one hub are good in the other.
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

// FrameState is an event as its readers get it.
type FrameState struct {
	Seq, Version uint64
	Time         int64 // when it was emitted, in nanoseconds since 1970
	Event        []byte
}

// ValueState is a state of a room: its value, and how it was last published.
type ValueState struct {
	Name    string
	Value   []byte
	Version uint64
	Shown   *FrameState
}

// SubState is a reader, for [Room.Resume].
type SubState struct {
	Seq, Version     uint64
	Cursor           string // with Options.Source: where it is in that
	Lost             bool   // it is to be told that it has missed events
	Rest             []byte // what must go first
	Chunked, Signals bool
	Over             bool
}

// Export returns the hub as it is now. Its slices are shared with the hub and are not to be changed.
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
	if r.hub.opt.Source == nil { // else that keeps them
		for _, f := range r.history.frames {
			st.History = append(st.History, *f.export())
		}
	}
	return st
}

func (f *frame) export() *FrameState {
	return &FrameState{Seq: f.at.Seq, Version: f.at.Version, Time: f.time.UnixNano(), Event: f.raw}
}

// Import fills a hub that nobody has used yet. Its rooms are as if the last reader had just left. Events come with st,
// or else from Options.Source; nodes of the same Source need the same Options.Node to go on with each other's cursors.
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
	// What is kept is in the order in which it came, over all rooms.
	slices.SortStableFunc(frames, func(a, b *frame) int { return a.time.Compare(b.time) })
	for _, f := range frames {
		h.kept.add(f)
	}
}

// fill gives a new room what st says, and returns its history.
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

// newFrame makes the frame of an event, after which a reader is at at.
func newFrame(at Position, event []byte) *frame {
	chunk := sse.AppendChunk(make([]byte, 0, len(event)+10), event)
	start := bytes.IndexByte(chunk, '\n') + 1
	return &frame{at: at, chunk: chunk, raw: chunk[start : start+len(event)]}
}

// Export returns where the reader is.
func (s *Sub) Export() SubState {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	st := SubState{
		Seq: s.pos.Seq, Version: s.pos.Version,
		Lost: s.wants == nil && s.pos.generation != r.generation,
		Rest: s.rest, Chunked: s.chunked, Signals: s.signals, Over: s.over,
	}
	if r.hub.opt.Source != nil {
		st.Cursor = string(s.cursor())
	}
	return st
}

// Resume makes a reader that goes on where st says, byte by byte. The room is one of a hub that has got the state with
// [Hub.Import].
func (r *Room) Resume(st SubState) *Sub {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &Sub{room: r, rest: st.Rest, chunked: st.Chunked, signals: st.Signals, over: st.Over}
	s.pos = Position{Seq: st.Seq, Version: st.Version, generation: r.generation}
	if st.Cursor != "" {
		r.unsettled++
		s.pos.generation = -r.unsettled // its own: no two of them are at the same place
	}
	if c, ok := ParseCursor(st.Cursor); ok && !st.Lost {
		s.wants = &c
	}
	s.settle()
	return s
}
