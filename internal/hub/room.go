package hub

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"headcount/internal/lockorder"
	"headcount/internal/sse"
)

// Room is one room of a [Hub]. It has its history, its states, and the throttling.
type Room struct {
	hub    *Hub
	name   string
	opened int // guarded by hub.mu

	mu         lockorder.Mutex[lockorder.Room]
	epoch      string // epoch of seq
	generation uint32 // how often the epoch has changed
	seq        uint64 // of the last event
	base       uint64 // seq at the creation of the room; older cursors are from an earlier room
	forgotten  uint64 // of the last event that is no longer in the history
	expected   uint64 // a cursor up to here is not from the future, see Room.Expect
	loaded     bool   // its history is here; a room of a Source has none at first
	unsettled  uint32 // subscribers that came before the history was loaded
	version    uint64 // of the newest value of any state
	history    history
	states     []*state // as published, oldest first
	pace       pace
	notified   time.Time     // when the last piece of news came
	changed    chan struct{} // closed and replaced with each piece of news
	wakers     []waker
}

// state is an event of which only the latest value matters. Its value may be newer than the published one. Then only a
// new subscriber gets it.
type state struct {
	name    string
	value   []byte
	version uint64 // of value
	shown   *frame // as last published; nil if never
	public  []byte // the value as last published
}

type waker struct {
	key any
	f   func()
	n   int // how often it was attached
}

// Name returns the name of the room.
func (r *Room) Name() string { return r.name }

// Changed returns a channel that is closed at the next piece of news. Take it before calling [Sub.Pending], or you miss
// the news in between.
func (r *Room) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Attach registers wake, which is called at every piece of news until Detach(key) was called as often as Attach with
// that key. wake must return at once and must not call the hub.
func (r *Room) Attach(key any, wake func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.wakers {
		if r.wakers[i].key == key {
			r.wakers[i].n++
			return
		}
	}
	r.wakers = append(r.wakers, waker{key, wake, 1})
}

// Detach undoes one Attach.
func (r *Room) Detach(key any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.wakers {
		if r.wakers[i].key == key {
			if r.wakers[i].n--; r.wakers[i].n == 0 {
				r.wakers = append(r.wakers[:i:i], r.wakers[i+1:]...)
			}
			return
		}
	}
}

// notify wakes everything that waits for news. The caller holds r.mu. A waker only sets a flag or wakes a goroutine, see
// Attach.
func (r *Room) notify() {
	r.notified = time.Now()
	close(r.changed)
	r.changed = make(chan struct{})
	for _, w := range r.wakers {
		w.f()
	}
}

// Update sets the state called name to what value returns, and publishes it when the throttling allows. value is called
// under the lock of the room. So if two updates run at once, the later one also sees the later value.
func (r *Room) Update(name string, value func() []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state(name)
	v := value()
	if bytes.Equal(v, s.value) {
		return
	}
	s.value = v
	r.version++
	s.version = r.version
	r.pace.due(r)
}

func (r *Room) state(name string) *state {
	for _, s := range r.states {
		if s.name == name {
			return s
		}
	}
	s := &state{name: name}
	r.states = append(r.states, s)
	return s
}

// Published returns the last published value of a state, nil if it was never published.
func (r *Room) Published(name string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.states {
		if s.name == name {
			return s.public
		}
	}
	return nil
}

// publish publishes the states that have changed since they were last published. The caller holds r.mu.
func (r *Room) publish() {
	shown := r.states[:0:0]
	var news []*state
	for _, s := range r.states {
		if s.shown != nil && s.shown.at.Version == s.version {
			shown = append(shown, s)
		} else {
			news = append(news, s)
		}
	}
	if len(news) == 0 {
		return
	}
	slices.SortFunc(news, func(a, b *state) int { return cmp.Compare(a.version, b.version) })
	for _, s := range news {
		at := Position{Seq: r.seq, Version: s.version}
		s.shown, s.public = r.encode(at, at, s.name, s.value), s.value
	}
	r.states = append(shown, news...)
	r.notify()
}

// encode makes a frame. A subscriber that has got it is at position at. The id of the frame is the cursor of id, which
// differs from at where a client must resume at an earlier place.
func (r *Room) encode(at, id Position, name string, data []byte) *frame {
	raw := sse.Append(nil, &sse.Event{ID: r.appendCursor(nil, id), Event: []byte(name), Data: data})
	return newFrame(at, raw)
}

// emit adds an event and returns its cursor.
func (r *Room) emit(name string, data []byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.add(Event{Seq: r.seq + 1, Time: time.Now(), Name: name, Data: data})
	r.pace.join(r)
	r.notify()
	return string(r.appendCursor(nil, at))
}

// add appends an event to the history and returns its position. The caller holds r.mu.
func (r *Room) add(e Event) Position {
	r.seq = e.Seq
	at := Position{Seq: e.Seq, Version: r.shownVersion()}
	f := r.encode(at, at, e.Name, e.Data)
	f.room, f.time = r, e.Time
	if len(r.history.frames) == 0 {
		r.hub.kept.room(true)
	}
	r.history.add(f)
	r.hub.kept.add(f)
	if over := len(r.history.frames) - r.hub.opt.History; over > 0 {
		r.dropOldest(over)
	}
	return at
}

// shownVersion returns the version up to which all states have been published.
func (r *Room) shownVersion() uint64 {
	var v uint64
	for _, s := range r.states {
		if s.shown != nil {
			v = max(v, s.shown.at.Version)
		}
	}
	return v
}

func (r *Room) dropOldest(n int) {
	for _, f := range r.history.frames[:n] {
		r.hub.kept.remove(f)
	}
	r.forgotten = r.history.frames[n-1].at.Seq
	r.history.dropOldest(n)
	if len(r.history.frames) == 0 {
		r.hub.kept.room(false)
	}
}

// History returns how many events the room keeps, how many of these came after since, and how much memory they take.
func (r *Room) History(since time.Time) (events, recent int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.history.frames {
		bytes += int64(len(f.chunk)) + frameCost
	}
	n := len(r.history.frames)
	for n-recent > 0 && r.history.frames[n-recent-1].time.After(since) {
		recent++
	}
	return n, recent, bytes
}

// forget drops the events up to f, if they are still there.
func (r *Room) forget(f *frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.history.frames) && r.history.frames[n].at.Seq <= f.at.Seq {
		n++
	}
	if n > 0 {
		r.dropOldest(n)
	}
}
