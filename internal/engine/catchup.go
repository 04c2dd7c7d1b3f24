package engine

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	joinWithin    = time.Second     // for a connection to the other nodes
	catchUpWithin = 5 * time.Second // for the sets of the other nodes; after that, a silent node does not count
	lookEvery     = 10 * time.Millisecond
)

// catchUp is the time in which a node that continues for another process does not know yet what that one knew of the
// other nodes. No count is published, and new subscribers wait.
type catchUp struct {
	nodes  []string      // that have to be heard
	joined chan struct{} // closed when events can be emitted, or no more time is left
	done   chan struct{} // closed when the counts are known, or no more time is left
}

// newCatchUp returns one that is over.
func newCatchUp() catchUp {
	over := make(chan struct{})
	close(over)
	return catchUp{joined: over, done: over}
}

// begin starts it for a node that has to hear these other nodes.
func (c *catchUp) begin(nodes []string) {
	*c = catchUp{nodes, make(chan struct{}), make(chan struct{})}
}

func (c *catchUp) over() bool { return isClosed(c.done) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// waitFor waits until the channel is closed or ctx is done.
func waitFor(ctx context.Context, c <-chan struct{}) {
	if isClosed(c) { // as it almost always is; ctx.Done would allocate
		return
	}
	select {
	case <-c:
	case <-ctx.Done():
	}
}

// catchUp waits until this node knows as much of the others as the process for which it continues, and publishes all
// counts then.
func (e *Engine) catchUp(ctx context.Context) {
	c := &e.catching
	if c.over() {
		return
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	begin, join := time.Now(), sync.OnceFunc(func() { close(c.joined) })
	for ctx.Err() == nil {
		spent := time.Since(begin)
		joined := e.node.Ready() == nil
		if joined || spent >= joinWithin {
			join()
		}
		if joined && e.knows(c.nodes) || spent >= catchUpWithin {
			break
		}
		select {
		case <-look.C:
		case <-ctx.Done():
		}
	}
	join()
	close(c.done)
	for _, room := range e.users.Rooms() {
		e.recount(room.Name)
	}
}

// knows reports whether the sets of these nodes are complete.
func (e *Engine) knows(nodes []string) bool {
	others := e.node.Nodes()
	return !slices.ContainsFunc(nodes, func(name string) bool {
		at := slices.IndexFunc(others, func(n NodeStatus) bool { return n.Name == name })
		return at < 0 || others[at].Lag > 0
	})
}
