package engine

import (
	"time"

	"headcount/internal/presence"
)

// Stats is the state of a node at one moment.
type Stats struct {
	Node     string // name of the node, "" if there are no others
	Writer   Writer // how the streams of HTTP/1.x are written
	Started  time.Time
	Ready    error  // why new streams are refused, or nil
	Joined   error  // why this node is not connected to the others, or nil
	Degraded string // a problem that does not stop the node, "" = none
	Nodes    []NodeStatus

	Users       int // counted now, sum over all rooms
	Leases      int // of these users, those counted by a lease or in their grace period
	Streams     int
	ByTransport map[Transport]int
	MaxStreams  int // 0 = no limit
	Rooms       int // open rooms
	Events      int // kept in the histories
	EventBytes  int64
	Gaps        uint64 // subscribers that missed events and got an io:gap
}

// Mismatches returns how often a set of another node did not match its digest.
func (s Stats) Mismatches() (n int) {
	for _, one := range s.Nodes {
		n += one.Mismatches
	}
	return n
}

// Stats returns the state of the engine.
func (e *Engine) Stats() Stats {
	s := Stats{
		Writer: e.Writer(), Started: e.started, Ready: e.Ready(), Joined: e.node.Ready(), Nodes: e.node.Nodes(), Node: e.node.Tag(),
		Users: e.users.Users(), Leases: e.users.Leases(), MaxStreams: e.opt.MaxStreams,
		Rooms: e.hub.Rooms(), Gaps: e.hub.Gaps(),
	}
	s.Streams, s.ByTransport = e.streams.count(nil)
	s.Events, s.EventBytes = e.hub.History()
	if text := e.degraded.Load(); text != nil {
		s.Degraded = *text
	}
	return s
}

// RoomStats is the state of one room.
type RoomStats struct {
	Users       int // on all nodes, as far as this node knows
	Here        int // of these users, those whom this node counts
	Streams     int // open on this node
	ByTransport map[Transport]int
	Events      int // kept in the history
	EventBytes  int64
	NewEvents   int // of the kept events, those of the last [Recent]
	NewStreams  int // opened within the last [Recent], without polls; also those that have ended
}

// Recent is the time for which rates are computed.
const Recent = 10 * time.Second

// RoomStats returns the state of a room. All numbers are 0 for a room that does not exist.
func (e *Engine) RoomStats(room string) RoomStats {
	s := RoomStats{Users: e.CountNow(room), Here: e.users.Count(room), NewStreams: e.joins.count(room, time.Now())}
	s.Streams, s.ByTransport = e.streams.count(func(st *Stream) bool {
		return st.transport > 0 && st.room.Name() == room // before it has a transport, it may not have a room
	})
	if r := e.hub.Lookup(room); r != nil {
		s.Events, s.NewEvents, s.EventBytes = r.History(time.Now().Add(-Recent))
	}
	return s
}

// Rooms returns the rooms that have users on this node, in no particular order.
func (e *Engine) Rooms() []presence.Room { return e.users.Rooms() }

// Ready returns why new streams are refused, or nil.
func (e *Engine) Ready() error {
	if e.streams.isDraining() {
		return unavailable(Stopping, "stopping")
	}
	if err := e.node.Ready(); err != nil && isClosed(e.catching.joined) {
		return unavailable(Cluster, "%v", err)
	}
	return nil
}

// Writer returns how the streams of HTTP/1.x are written.
func (e *Engine) Writer() Writer {
	switch {
	case e.epoll == nil:
		return Portable
	case e.epoll.Uring():
		return Uring
	}
	return Epoll
}

// Streams returns how many streams are open.
func (e *Engine) Streams() int {
	all, _ := e.streams.count(nil)
	return all
}
