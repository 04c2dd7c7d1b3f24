package cluster

import (
	"context"
	"slices"
	"sync"

	"headcount/internal/cluster/union"
	"headcount/internal/engine"
)

// changes are what other nodes changed and the engine has not taken yet.
type changes struct {
	more chan struct{} // signals that there are some

	mu      sync.Mutex
	list    []engine.Change
	counted map[string]struct{} // rooms in list; the engine will ask for their count anyway
}

func newChanges() changes {
	return changes{more: make(chan struct{}, 1), counted: make(map[string]struct{})}
}

func (c *changes) add(one engine.Change) {
	c.mu.Lock()
	if _, known := c.counted[one.Room]; !known || len(one.Renewed)+len(one.Left) > 0 {
		c.counted[one.Room] = struct{}{}
		c.list = append(c.list, one)
	}
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *changes) take() []engine.Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	clear(c.counted)
	return list
}

// Next waits until other nodes have changed something, and returns it in order.
func (n *Node) Next(ctx context.Context) ([]engine.Change, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-n.changes.more:
			if list := n.changes.take(); len(list) > 0 {
				return list, nil
			}
		}
	}
}

// changed hands the effects that concern the engine to [Node.Next].
func (n *Node) changed(e union.Effects) {
	for _, l := range e.Leave {
		if r := n.roomOf(l.Room); r != nil {
			n.changes.add(engine.Change{Room: r.name, Left: l.IDs, Grace: l.Grace})
		}
	}
	for _, one := range e.Renew {
		if r := n.roomOf(one.Room); r != nil {
			ids := slices.DeleteFunc(one.IDs, func(id string) bool { return !n.users.Has(r.name, id) })
			n.changes.add(engine.Change{Room: r.name, Renewed: ids})
		}
	}
	for _, token := range e.Changed {
		if r := n.roomOf(token); r != nil {
			n.changes.add(engine.Change{Room: r.name})
		}
	}
}
