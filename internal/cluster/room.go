package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"headcount/internal/cluster/union"
	"headcount/internal/hub"
)

const (
	sweepEvery = time.Minute     // how often all rooms are compared with the stream
	firstSweep = 2 * time.Second // after a room was opened, because an event may have been in transit
	longest    = time.Second     // wait of a subscriber for its room
)

// room is a room that this node has open.
type room struct {
	node   *Node
	name   string
	token  string
	feed   feed                 // the room's events
	heard  latch                // the subscriptions exist
	loaded latch                // the history is known
	known  latch                // the other nodes' users are known
	gone   latch                // the room is closed
	subs   []*nats.Subscription // only for send
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
		node: n, name: h.Name(), token: token(h.Name()),
		heard: newLatch(), loaded: newLatch(), known: newLatch(), gone: newLatch(),
	}
	r.feed = feed{node: n, room: r, hub: h}
	n.mu.Lock()
	n.rooms[r.token] = r
	n.mu.Unlock()
	n.openSet(r)
	n.tasks.add(func(ctx context.Context) {
		if isOpen(ctx, r, r.heard.done) && r.refresh(ctx) && isOpen(ctx, r, time.After(firstSweep)) {
			r.feed.fill(ctx)
		}
	})
}

// Unwatch implements [hub.Source].
func (n *Node) Unwatch(h *hub.Room) {
	token := token(h.Name())
	n.mu.Lock()
	r := n.rooms[token]
	delete(n.rooms, token)
	n.mu.Unlock()
	if r != nil {
		r.gone.close()
		n.closeSet(r)
	}
}

// subscribe subscribes to the room's events and to the other nodes' messages about its users. It subscribes again if
// the subject has changed.
func (r *room) subscribe(sets string) {
	r.unsubscribe()
	for _, subject := range []string{r.node.names.live(r.token), sets} {
		sub, err := r.node.nc.ChanSubscribe(subject, r.node.inbox)
		if err != nil {
			r.node.log.Warn("subscribe to room failed", "error", err)
			return // the connection is closed
		}
		r.subs = append(r.subs, sub)
	}
	r.heard.close()
}

func (r *room) unsubscribe() {
	for _, sub := range r.subs {
		_ = sub.Unsubscribe() // an error means that the connection is closed
	}
	r.subs = nil
}

func (r *room) to() union.To { return union.To{Room: r.token} }

// isOpen waits for a channel, and reports whether the room is still open then.
func isOpen[T any](ctx context.Context, r *room, c <-chan T) bool {
	select {
	case <-c:
		return true
	case <-r.gone.done:
	case <-ctx.Done():
	}
	return false
}

// refresh updates the room's events, and reports whether it did before the room was closed.
func (r *room) refresh(ctx context.Context) bool {
	done := r.retry(ctx, r.load)
	if done {
		r.loaded.close()
	}
	return done
}

// retry calls do until it succeeds, and reports whether it did before the room was closed.
func (r *room) retry(ctx context.Context, do func(context.Context) error) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := do(ctx)
		if err == nil {
			return true
		}
		r.node.log.Debug("update of room failed", "room", r.name, "error", err)
		if !isOpen(ctx, r, time.After(wait)) {
			return false
		}
	}
}

func (r *room) load(ctx context.Context) error {
	n := r.node
	if n.streams.Load() == nil || !n.nc.IsConnected() {
		return errAway
	}
	// The server must know the subscriptions before the request for the current state.
	flush, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := n.nc.FlushWithContext(flush); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return r.feed.catchUp(ctx)
}

// sweep reads what all rooms have missed, one room after the other. A republished event and its confirmation may both be
// lost without a trace.
func (n *Node) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, r := range n.open() {
			if n.nc.IsConnected() && r.feed.catchUp(ctx) != nil {
				n.tasks.add(r.feed.fill)
			}
		}
	}
}

// wait waits a short time until the room is loaded and its users are known. Without NATS it does not wait, unless this
// node has just started and may connect at any moment.
func (r *room) wait(ctx context.Context) {
	if n := r.node; !n.nc.IsConnected() && (n.streams.Load() != nil || time.Since(n.begun) >= longest) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	for _, l := range []latch{r.loaded, r.known} {
		select {
		case <-l.done:
		case <-ctx.Done():
			return
		}
	}
}
