package engine

import (
	"context"
	"time"

	"headcount/internal/hub"
	"headcount/internal/presence"
)

// Backend joins a node to the others. An engine without one uses one that is alone.
type Backend interface {
	Log
	Presence
	Membership
}

// Log is where events are kept for all nodes.
type Log interface {
	hub.Source
	// Emit returns once the event is kept. The id and the room are those of the first
	// event with that idempotency key, "" = none. hub.ErrTooLarge says what it says.
	Emit(ctx context.Context, room, event string, data []byte, key string) (id, in string, err error)
	// Await waits for what a reader with that cursor is to see first in an open room: its history and the users of the
	// other nodes. It does not wait for long.
	Await(ctx context.Context, room, cursor string)
}

// Presence is the users of the other nodes.
type Presence interface {
	// Changed is called when this node's users of the room may have changed.
	Changed(room string)
	// Count returns how many users the room has on all nodes: at once for a room that is open
	// here, else it may ask. With a context that is done it never waits.
	Count(ctx context.Context, room string) int
	// Leave removes the client ids on every node: now, or after grace unless they come back there before.
	Leave(room string, ids []string, grace time.Duration)
	// Renew renews leases where they are held, and returns the ids that no other node holds.
	Renew(ctx context.Context, room string, ids []string) (unknown []string)
}

// Membership is this node among the others.
type Membership interface {
	Bind(Local)          // says whose backend it is: once, before anything else but Tag
	Tag() string         // names the node in cursors
	Ready() error        // why this node is not one with the others, or nil
	Nodes() []NodeStatus // all nodes, this one too; nil where there are no others
	// Run does everything that happens in the background, until ctx is done.
	Run(ctx context.Context) error
}

// NodeStatus is a node as this one sees it.
type NodeStatus struct {
	Name  string
	Self  bool
	Users int           // in all its rooms
	Heard time.Duration // how long ago it was last heard of
	Fresh time.Duration // how long ago the oldest of its sets was told or confirmed, of the rooms that are open here
	Lag   int           // rooms that are open here in which something may be missing of its set

	Mismatches int // of this node: how often a set of another one was not what that said it was, and was asked for
}

// Local is this node's own side, as its backend sees it. The functions are for the backend's
// own goroutines.
type Local struct {
	Hub   *hub.Hub
	Users *presence.Table
	// Changed is to be called when a room's count over all nodes may have changed.
	Changed func(room string)
	// Renew renews the leases of those ids that have a stream or a lease here, and returns them.
	Renew func(room string, ids []string) (known []string)
	// Leave takes client ids out of the count here: they have said goodbye on another node.
	Leave func(room string, ids []string, grace time.Duration)
}

// alone is the backend of a node without others.
type alone struct {
	hub   *hub.Hub
	users *presence.Table
	keys  keys
}

func (*alone) Watch(*hub.Room)   {}
func (*alone) Unwatch(*hub.Room) {}

func (a *alone) Emit(_ context.Context, room, event string, data []byte, key string) (id, in string, err error) {
	e := a.keys.once(key, func() emitted { return emitted{a.hub.Emit(room, event, data), room} })
	return e.id, e.room, nil
}

func (*alone) Await(context.Context, string, string)                    {}
func (*alone) Changed(string)                                           {}
func (a *alone) Count(_ context.Context, room string) int               { return a.users.Count(room) }
func (*alone) Leave(string, []string, time.Duration)                    {}
func (*alone) Renew(_ context.Context, _ string, ids []string) []string { return ids }
func (*alone) Tag() string                                              { return "" }
func (*alone) Ready() error                                             { return nil }
func (*alone) Nodes() []NodeStatus                                      { return nil }
func (*alone) Bind(Local)                                               {}
func (*alone) Run(ctx context.Context) error                            { <-ctx.Done(); return nil }
