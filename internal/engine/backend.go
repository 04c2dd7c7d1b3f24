package engine

import (
	"context"
	"time"

	"headcount/internal/hub"
	"headcount/internal/presence"
)

// Backend connects this process to others. An engine without a Backend is a node that is alone.
type Backend interface {
	// Join makes this process a node, and makes the node's hub. It sets the source of the rooms. rooms.Node is the name
	// of the node that this one continues, or "". The engine calls Join once.
	Join(rooms hub.Options, users *presence.Table) (*hub.Hub, Node, error)
}

// Node is this process among all nodes. The engine calls it, and it never calls the engine.
type Node interface {
	Log
	Presence
	Membership
}

// Log keeps the events for all nodes.
type Log interface {
	hub.Source
	// Emit returns once the event is kept. It returns the id and the room of the first event with that idempotency key,
	// "" = none. It returns hub.ErrTooLarge for an event that is too large.
	Emit(ctx context.Context, room, event string, data []byte, key string) (id, in string, err error)
	// Await waits for what a subscriber with that cursor must see first in an open room, which is its history and the
	// users of the other nodes. It does not wait long.
	Await(ctx context.Context, room, cursor string)
}

// Presence keeps the users of the other nodes.
type Presence interface {
	// Changed tells the other nodes about changes of this node's users of the room. It returns how many users the room
	// has on all nodes, as far as this node knows. It never waits.
	Changed(room string) (users int)
	// Count returns how many users the room has on all nodes. It returns at once for a room that is open here, and may
	// ask the other nodes for another one.
	Count(ctx context.Context, room string) int
	// Leave removes the client ids on every node, now or after grace unless they reconnect before.
	Leave(room string, ids []string, grace time.Duration)
	// Renew renews leases where they are held, and returns the ids that no other node holds.
	Renew(ctx context.Context, room string, ids []string) (unknown []string)
}

// Membership is the membership of this node among all nodes.
type Membership interface {
	Tag() string         // names the node in cursors
	Ready() error        // returns why this node is not connected to the others, or nil
	Nodes() []NodeStatus // returns all nodes, with this one; nil if there are no others
	// Next waits until other nodes have changed something, and returns it in order. It returns an error if ctx is done.
	// One goroutine calls it again and again.
	Next(ctx context.Context) ([]Change, error)
	// Run does all background work until ctx is done. Then it leaves the other nodes, unless Release was called.
	Run(ctx context.Context) error
	// Release lets another process continue under the same name.
	Release()
}

// Change is what other nodes changed in a room. In any case the room's count over all nodes may have changed.
type Change struct {
	Room    string
	Renewed []string      // client ids whose leases here were renewed
	Left    []string      // client ids that said goodbye
	Grace   time.Duration // how long those that left stay counted unless they reconnect
}

// NodeStatus is the state of a node as this node sees it.
type NodeStatus struct {
	Name  string
	Self  bool
	Users int           // sum over all its rooms
	Heard time.Duration // time since its last message
	Fresh time.Duration // age of the oldest of its sets for the rooms that are open here, since it was sent or confirmed
	Lag   int           // rooms open here whose set from that node may be incomplete

	Mismatches int // only for this node: how often a set of another node did not match its digest and was requested again
}

// noBackend is the backend of a process without other nodes.
type noBackend struct{}

func (noBackend) Join(rooms hub.Options, users *presence.Table) (*hub.Hub, Node, error) {
	h := hub.New(rooms)
	return h, &alone{hub: h, users: users}, nil
}

// alone is the only node.
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
func (a *alone) Changed(room string) int                                { return a.users.Count(room) }
func (a *alone) Count(_ context.Context, room string) int               { return a.users.Count(room) }
func (*alone) Leave(string, []string, time.Duration)                    {}
func (*alone) Renew(_ context.Context, _ string, ids []string) []string { return ids }
func (*alone) Tag() string                                              { return "" }
func (*alone) Ready() error                                             { return nil }
func (*alone) Nodes() []NodeStatus                                      { return nil }
func (*alone) Run(ctx context.Context) error                            { <-ctx.Done(); return nil }
func (*alone) Release()                                                 {}

func (*alone) Next(ctx context.Context) ([]Change, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
