package cluster

import (
	"context"
	"strings"
	"time"

	"headcount/internal/engine"
)

// Backend returns the node as an engine wants it.
func (n *Node) Backend() engine.Backend { return &backend{Node: n} }

// backend is a [Node] as the engine wants it.
type backend struct {
	*Node
	local engine.Local
}

// Bind is called before anything else.
func (b *backend) Bind(local engine.Local) {
	b.local = local
	b.Node.Bind(local.Hub, local.Users, side{local})
}

// Run is for [engine.Backend].
func (b *backend) Run(ctx context.Context, _ engine.Local) error {
	b.Node.Run(ctx)
	return nil
}

// Count is for [engine.Backend].
func (b *backend) Count(ctx context.Context, room string) int {
	if users, open := b.Total(room); open {
		return users
	}
	if ctx.Err() != nil {
		return b.local.Users.Count(room)
	}
	return b.Users(ctx, room)
}

// Renew is for [engine.Backend].
func (b *backend) Renew(ctx context.Context, room string, ids []string) []string {
	return b.Alive(ctx, room, ids)
}

// Nodes is for [engine.Backend].
func (b *backend) Nodes() []engine.NodeStatus {
	var list []engine.NodeStatus
	for name, age := range b.Node.Nodes() {
		list = append(list, engine.NodeStatus{Name: name, Self: strings.HasPrefix(name, b.Tag()), Heard: age})
	}
	return list
}

// side is this node as the others see it.
type side struct{ local engine.Local }

// Recount is for [Local].
func (s side) Recount(room string) { s.local.Changed(room) }

// Renew is for [Local].
func (s side) Renew(room string, ids []string) []string { return s.local.Renew(room, ids) }

// Expect is for [Local].
func (s side) Expect(room, id string, until time.Time) {
	s.local.Users.Renew(room, id, until)
	s.local.Renew(room, nil) // which looks again whose time is over when
}
