package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unique"

	"headcount/internal/hub"
	"headcount/internal/presence"
	"headcount/internal/snapshot"
	"headcount/internal/wire"
)

// Snapshot is the whole state of an engine, for the process that continues with it, see [Engine.Freeze].
type Snapshot struct {
	saved   saved
	written time.Time
	streams []int // descriptors, one for each of saved.Streams
}

// saved is the state that is written to the file or sent to the next process.
type saved struct {
	Hub     hub.State
	Users   presence.State
	Keys    []savedKey
	Nodes   []string // the other nodes
	Streams []savedStream
}

type savedKey struct {
	Key, ID, Room string
	Time          int64 // in nanoseconds since 1970
}

type savedStream struct {
	Room          string
	Ticket        presence.TicketState
	Conn          wire.ConnState
	Named, Detour bool
	Address       netip.Prefix
	Lease         *savedLease
	Limited       bool          // its permission ends
	Left          time.Duration // time until the permission ends
	Ending        bool
	Retry, Waited time.Duration
}

type savedLease struct {
	Named, Voluntary, Strict, Confirmed bool
	Opened, Pinged                      time.Duration // ages at the time of the snapshot
}

// ReadSnapshot reads the bytes of [Snapshot.Bytes]. streams are the descriptors of [Snapshot.Streams] in this process.
// If it is nil, the users of these streams get a grace period to reconnect. An error says why the bytes cannot be used.
func ReadSnapshot(state []byte, streams []int) (*Snapshot, error) {
	s := &Snapshot{streams: streams}
	var err error
	if s.written, err = snapshot.Decode(state, &s.saved); err != nil {
		return nil, err
	}
	switch {
	case streams == nil:
		s.saved.Streams = nil
	case len(streams) != len(s.saved.Streams):
		return nil, fmt.Errorf("the state has %d streams, and there are %d descriptors", len(s.saved.Streams), len(streams))
	}
	return s, nil
}

// Bytes returns the snapshot without its descriptors, with a version and a checksum.
func (s *Snapshot) Bytes() ([]byte, error) { return snapshot.Encode(s.written, s.saved) }

// Streams returns the descriptors of the open streams. The engine still owns them.
func (s *Snapshot) Streams() []int { return s.streams }

// Written returns when the engine was frozen.
func (s *Snapshot) Written() time.Time { return s.written }

// Node returns the name of the node in cursors. The next process must use the same name, see [Backend].
func (s *Snapshot) Node() string { return s.saved.Hub.Node }

// Users returns the number of users in the snapshot.
func (s *Snapshot) Users() int {
	n := 0
	for _, r := range s.saved.Users.Rooms {
		n += len(r.Users) + r.Anonymous
	}
	return n
}

// freezeTime limits how long Freeze waits for work that was admitted before. A request to another node takes 2 s at most.
const freezeTime = 3 * time.Second

// Freeze stops reading, writing and counting, and returns what another process needs to continue. Streams that net/http
// writes are not handed over. Their users get a grace period in the other process. Call [Engine.Thaw] to resume here,
// or [Engine.Release] after another process has taken over. An error says that some work did not end in time, or that
// the engine is frozen, and nothing has changed.
func (e *Engine) Freeze() (*Snapshot, error) {
	if e.freezer.isFrozen() {
		return nil, errors.New("it is frozen; call Thaw first")
	}
	if !e.freezer.freeze(freezeTime) {
		return nil, fmt.Errorf("a request is not done after %v; try again", freezeTime)
	}
	if e.epoll != nil {
		e.epoll.Freeze() // first, because a stream that ends changes users and rooms
	}
	now := time.Now()
	s := &Snapshot{written: now, saved: saved{Hub: e.hub.Export(), Users: e.users.Export(now)}}
	if a, ok := e.node.(*alone); ok {
		s.saved.Keys = a.keys.export()
	}
	if !e.catching.over() {
		s.saved.Nodes = slices.Clone(e.catching.nodes) // not all of them have been heard since the last handover
	}
	for _, node := range e.node.Nodes() {
		if !node.Self && !slices.Contains(s.saved.Nodes, node.Name) {
			s.saved.Nodes = append(s.saved.Nodes, node.Name)
		}
	}
	if e.epoll == nil {
		return s, nil
	}
	n := e.Streams()
	s.saved.Streams, s.streams = make([]savedStream, 0, n), make([]int, 0, n)
	for c := range e.epoll.Streams() {
		if st, ok := c.Owner().(*Stream); ok {
			s.saved.Streams = append(s.saved.Streams, st.export(c, now))
			s.streams = append(s.streams, c.FD())
		}
	}
	return s, nil
}

func (st *Stream) export(c *wire.Conn, now time.Time) savedStream {
	saved := savedStream{
		Room: st.room.Name(), Ticket: st.engine.users.ExportTicket(&st.ticket), Conn: c.Export(),
		Named: st.named, Detour: st.detour, Address: st.address.Value(),
	}
	st.mu.Lock()
	saved.Ending, saved.Retry, saved.Waited = st.state == ending, st.retry, st.waited
	st.mu.Unlock()
	if st.expiry != nil {
		saved.Limited, saved.Left = true, st.expiry.at.Sub(now)
	}
	if l := st.lease; l != nil {
		saved.Lease = &savedLease{
			Named: l.named, Voluntary: l.voluntary, Strict: l.strict, Confirmed: l.confirmed.Load(),
			Opened: now.Sub(l.opened), Pinged: now.Sub(l.pinged),
		}
	}
	return saved
}

// restore fills a new engine and leaves it frozen.
func (e *Engine) restore(s *Snapshot) error {
	e.freezer.freeze(freezeTime) // nothing is inside yet
	now := time.Now()
	e.hub.Import(s.saved.Hub)
	if a, ok := e.node.(*alone); ok {
		a.keys.restore(s.saved.Keys)
	} else {
		e.catching.begin(s.saved.Nodes)
	}
	if e.epoll != nil {
		e.epoll.Freeze()
		for i, saved := range s.saved.Streams {
			if err := e.resume(s.streams[i], saved, now); err != nil {
				return err
			}
		}
	}
	// A client without a server retries at growing intervals, each no longer than the outage so far.
	away := min(max(now.Sub(s.written), 0), time.Minute)
	e.users.Import(s.saved.Users, now, detourWithin+away)
	return nil
}

// resume continues a stream.
func (e *Engine) resume(fd int, saved savedStream, now time.Time) error {
	st := &Stream{
		engine: e, room: e.hub.Open(saved.Room), address: unique.Make(saved.Address), named: saved.Named, detour: saved.Detour,
		state: open, retry: saved.Retry, waited: saved.Waited,
	}
	if saved.Ending {
		st.state = ending
	}
	if l := saved.Lease; l != nil {
		st.lease = &lease{named: l.Named, voluntary: l.Voluntary, strict: l.Strict, opened: now.Add(-l.Opened), pinged: now.Add(-l.Pinged)}
		st.lease.confirmed.Store(l.Confirmed)
	}
	e.users.Reopen(saved.Room, saved.Ticket, st)
	e.streams.readmit(st)
	out, err := e.epoll.Resume(fd, st.room, saved.Conn, st)
	if err != nil {
		st.close(wire.Gone)
		return fmt.Errorf("go on with a stream: %w", err)
	}
	st.out = out
	if saved.Ending && !saved.Conn.End { // its permission ended while it was frozen
		out.End(saved.Retry)
	}
	by := transportOf(saved.Conn.TLS != nil)
	e.streams.use(st, by)
	e.observer.Opened(by)
	if saved.Limited {
		st.endAt(now.Add(saved.Left))
	}
	return nil
}

// export returns the keys, the oldest first.
func (k *keys) export() []savedKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	saved := make([]savedKey, len(k.order))
	for i, e := range k.order {
		saved[i] = savedKey{Key: e.key, ID: e.event.id, Room: e.event.room, Time: e.time.UnixNano()}
	}
	return saved
}

func (k *keys) restore(saved []savedKey) {
	for _, s := range saved {
		e := k.entry(s.Key, time.Unix(0, s.Time))
		e.once.Do(func() { e.event = emitted{s.ID, s.Room} })
	}
}
