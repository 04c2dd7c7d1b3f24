package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"headcount/internal/cluster/union"
	"headcount/internal/hub"
	"headcount/internal/lockorder"
)

const (
	sweepEvery = time.Minute            // how often a room is compared with the stream at least
	sweepFirst = 2 * time.Second        // after a room was loaded, because an event may have been in transit
	holeAfter  = 100 * time.Millisecond // after a comparison found an event that NATS does not have yet
	retryAfter = time.Second / 2        // after a comparison that failed
	longest    = time.Second            // wait of a subscriber for its room
)

// room is a room that this node has open.
type room struct {
	node   *Node
	name   string
	token  string
	feed   feed                 // the room's events
	loaded latch                // the history is known
	known  latch                // the other nodes' users are known
	subs   []*nats.Subscription // only for send

	updating lockorder.Mutex[lockorder.Fetch] // held while missed events are fetched
	again    *time.Timer                      // for the next update
	pause    time.Duration                    // until the update after a successful one
}

// latch is a channel that the first call of close closes.
type latch struct {
	done  chan struct{}
	close func()
}

func newLatch() latch {
	done := make(chan struct{})
	return latch{done, sync.OnceFunc(func() { close(done) })}
}

// Watch implements [hub.Source].
func (n *Node) Watch(h *hub.Room) {
	r := &room{
		node: n, name: h.Name(), token: token(h.Name()), loaded: newLatch(), known: newLatch(), pause: sweepFirst,
	}
	r.feed = feed{node: n, room: r, hub: h}
	r.again = time.AfterFunc(sweepEvery, func() { n.stale.add(r) }) // follow starts the first update
	n.mu.Lock()
	n.rooms[r.token] = r
	n.mu.Unlock()
	n.openSet(r)
}

// Unwatch implements [hub.Source].
func (n *Node) Unwatch(h *hub.Room) {
	token := token(h.Name())
	n.mu.Lock()
	r := n.rooms[token]
	delete(n.rooms, token)
	n.mu.Unlock()
	if r != nil {
		r.again.Stop()
		n.closeSet(r)
	}
}

// follow subscribes to the room's events and to the other nodes' messages about its users, and then updates the room.
func (r *room) follow(sets string) {
	r.node.subscribe(&r.subs, r.node.names.live(r.token), sets)
	r.node.stale.add(r)
}

func (r *room) to() union.To { return union.To{Room: r.token} }

// runUpdates updates the stale rooms, some at the same time.
func (n *Node) runUpdates(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, requests)
	for {
		list, err := n.stale.wait(ctx)
		if err != nil {
			return
		}
		for _, r := range list {
			slots <- struct{}{}
			running.Go(func() {
				r.update(ctx)
				<-slots
			})
		}
	}
}

// update passes to the hub what the room may have missed, and plans the next update. A republished event and its
// confirmation may both be lost without a trace.
func (r *room) update(ctx context.Context) {
	r.updating.Lock()
	defer r.updating.Unlock()
	n := r.node
	if n.roomOf(r.token) != r || !n.nc.IsConnected() {
		return // it is closed, or the next sync updates it
	}
	next := r.pause
	if err := r.feed.catchUp(ctx); err == nil {
		r.pause = sweepEvery - rand.N(sweepEvery/4) // not all rooms at the same time
	} else {
		n.log.Debug("update of room failed", "room", r.name, "error", err)
		next = retryAfter
		if errors.Is(err, errHole) {
			next = holeAfter
		}
	}
	r.again.Reset(next)
}

// wait waits a short time for what is to be known of the room. Without NATS it does not wait, unless this node has just
// started and may connect at any moment.
func (r *room) wait(ctx context.Context, latches ...latch) {
	if n := r.node; !n.nc.IsConnected() && (n.streams.Load() != nil || time.Since(n.begun) >= longest) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	for _, l := range latches {
		select {
		case <-l.done:
		case <-ctx.Done():
			return
		}
	}
}
