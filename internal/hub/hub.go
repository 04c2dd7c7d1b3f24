package hub

import (
	"cmp"
	"hash/fnv"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"headcount/internal/lockorder"
)

// Options of a [Hub]. The zero value of each field means its default.
type Options struct {
	History      int           // events kept per room; default 1000
	HistoryAge   time.Duration // how long an event is kept; default 10 min
	HistoryBytes int64         // memory that the events of all rooms together may take; default 64 MiB
	Idle         time.Duration // how long a room outlives its last subscriber, for reconnecting clients; default 1 min

	Passed func(took time.Duration) // called at each [Room.Passed]; it must return at once

	Source Source // of the events; default: the hub itself, by [Hub.Emit]
	Node   string // name of this node in cursors, without a dot; default random
}

// Hub holds all rooms of one node.
type Hub struct {
	opt  Options
	node string
	tip  atomic.Uint64 // the last known sequence of the source
	gaps atomic.Uint64

	kept kept

	epoch    string // guarded by mu
	mu       lockorder.Mutex[lockorder.Hub]
	rooms    map[string]*Room
	idle     map[*Room]time.Time // rooms that are not open, and since when
	versions uint64              // of the last dropped room, so that none is used twice
	seqs     uint64              // guarded by mu
}

// New returns a hub without rooms.
func New(opt Options) *Hub {
	if opt.History == 0 {
		opt.History = 1000
	}
	if opt.HistoryAge == 0 {
		opt.HistoryAge = 10 * time.Minute
	}
	if opt.HistoryBytes == 0 {
		opt.HistoryBytes = 64 << 20
	}
	if opt.Idle == 0 {
		opt.Idle = time.Minute
	}
	tag := randomTag()
	return &Hub{
		opt: opt, epoch: tag, node: cmp.Or(opt.Node, tag[:4]),
		rooms: make(map[string]*Room), idle: make(map[*Room]time.Time),
	}
}

// Open returns the room called name. The room exists until [Hub.Close] has been called as often as Open, and after that
// for Options.Idle or as long as it has history.
func (h *Hub) Open(name string) *Room {
	h.trimEvents(time.Now()) // a new subscriber gets nothing that is too old
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[name]
	if r == nil {
		r = h.make(name)
	}
	r.opened++
	delete(h.idle, r)
	return r
}

// make adds a room. The caller holds h.mu.
func (h *Hub) make(name string) *Room {
	r := &Room{
		hub: h, name: name, epoch: h.epoch,
		seq: h.seqs, base: h.seqs, forgotten: h.seqs, version: h.versions,
		changed: make(chan struct{}),
	}
	h.rooms[name] = r
	if h.opt.Source != nil {
		// Until it is loaded, the room knows of no event up to now.
		r.base, r.seq = 0, h.tip.Load()
		r.forgotten = r.seq
		h.opt.Source.Watch(r)
	} else {
		r.epoch = epochOf(h.epoch, name)
		r.loaded = true
	}
	return r
}

// epochOf returns the epoch of a room that counts its own events. So the hub can detect a cursor of another room,
// instead of skipping the events with the same numbers here.
func epochOf(hub, room string) string {
	sum := fnv.New64a()
	_, _ = io.WriteString(sum, hub+room) // hub has a fixed length
	return strconv.FormatUint(sum.Sum64()>>24, 32)
}

// Close undoes one Open.
func (h *Hub) Close(r *Room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.opened--; r.opened == 0 {
		h.idle[r] = time.Now()
		h.bound()
	}
}

// maxIdle is how many rooms are kept that are not open. A client may name any number of rooms, one after the other.
const maxIdle = 100_000

// bound drops rooms that are not open, in any order, while there are too many. Rooms with history stay, because the
// memory limit of the history bounds them.
func (h *Hub) bound() {
	tries := 8
	for r := range h.idle {
		if len(h.idle) <= maxIdle || tries == 0 {
			return
		}
		h.drop(r)
		tries--
	}
}

// dropIdle drops the rooms that have not been open since t and that keep no event. A room that is created later starts
// at their position, so that no cursor has two meanings.
func (h *Hub) dropIdle(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r, since := range h.idle {
		if !since.After(t) {
			h.drop(r)
		}
	}
}

// drop drops a room, unless that would lose history.
func (h *Hub) drop(r *Room) {
	at, ok := r.shut()
	if !ok {
		return
	}
	delete(h.idle, r)
	delete(h.rooms, r.name)
	if h.opt.Source != nil {
		h.opt.Source.Unwatch(r)
	}
	h.seqs = max(h.seqs, at.Seq)
	h.versions = max(h.versions, at.Version)
}

// shut stops the timer of a room without history, and returns the position of the room. If the room has history, it
// returns false, unless the history can be loaded again.
func (r *Room) shut() (Position, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.history.frames); n > 0 && r.hub.opt.Source != nil {
		r.dropOldest(n)
	} else if n > 0 {
		return Position{}, false
	}
	if r.pace.timer != nil {
		r.pace.timer.Stop()
	}
	return Position{Seq: r.seq, Version: r.version}, true
}

// Lookup returns the room called name if it exists, or nil. The caller must not keep the room. Use [Hub.Open] for that.
func (h *Hub) Lookup(name string) *Room {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rooms[name]
}

// Rooms returns how many rooms exist.
func (h *Hub) Rooms() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.rooms)
}

// History returns how many events are kept, and how much memory they take.
func (h *Hub) History() (events int, bytes int64) {
	h.kept.mu.Lock()
	defer h.kept.mu.Unlock()
	return h.kept.events, h.kept.bytes
}

// Gaps returns how often a subscriber got an io:gap because it had missed events.
func (h *Hub) Gaps() uint64 { return h.gaps.Load() }

// Emit adds an event to the room called name and returns its cursor. data is JSON, and Emit does not check it. It is
// for a hub without Options.Source.
func (h *Hub) Emit(name, event string, data []byte) string {
	r := h.Open(name)
	defer h.Close(r)
	id := r.emit(event, data)
	h.trimEvents(time.Now())
	return id
}

// Trim drops the events that are older than the maximum age, the oldest events of all rooms while they take too many
// bytes, and idle rooms. Emit trims the events too. Call Trim every few seconds as well, for rooms without new events.
func (h *Hub) Trim(now time.Time) {
	h.trimEvents(now)
	h.dropIdle(now.Add(-h.opt.Idle))
}

func (h *Hub) trimEvents(now time.Time) {
	for {
		f := h.kept.overdue(now.Add(-h.opt.HistoryAge), h.opt.HistoryBytes)
		if f == nil {
			return
		}
		f.room.forget(f)
	}
}
