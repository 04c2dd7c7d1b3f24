package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"headcount/internal/cluster/union"
	"headcount/internal/hub"
)

const (
	sweepEvery = time.Minute     // how often a room is compared with the stream
	firstSweep = 2 * time.Second // after it was opened, because an event may have been in transit
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

	mu    sync.Mutex
	sweep time.Time // time of the next comparison
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
		node: n, name: h.Name(), token: token(h.Name()), sweep: time.Now().Add(firstSweep),
		heard: newLatch(), loaded: newLatch(), known: newLatch(), gone: newLatch(),
	}
	r.feed = feed{node: n, room: r, hub: h}
	n.mu.Lock()
	n.rooms[r.token] = r
	n.mu.Unlock()
	n.openSet(r)
	n.tasks.add(func(ctx context.Context) {
		select {
		case <-r.heard.done:
			r.refresh(ctx)
		case <-r.gone.done:
		case <-ctx.Done():
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

// refresh updates the room's events.
func (r *room) refresh(ctx context.Context) {
	if r.retry(ctx, r.load) {
		r.loaded.close()
	}
}

// retry calls do until it succeeds, and reports whether it did before the room was closed.
func (r *room) retry(ctx context.Context, do func(context.Context) error) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := do(ctx)
		if err == nil {
			return true
		}
		r.node.log.Debug("update of room failed", "room", r.name, "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-r.gone.done:
			return false
		case <-time.After(wait):
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

// sweep compares the rooms that are due with the stream.
func (n *Node) sweep() {
	now := time.Now()
	for _, r := range n.open() {
		select {
		case <-r.loaded.done:
		default:
			continue
		}
		r.mu.Lock()
		due := now.After(r.sweep)
		if due {
			r.sweep = now.Add(sweepEvery*3/4 + rand.N(sweepEvery/4))
		}
		r.mu.Unlock()
		if due {
			n.tasks.add(r.compare)
		}
	}
}

// compare fetches the room's events if one was missed.
func (r *room) compare(ctx context.Context) {
	done, err := slot(ctx, r.node.requests)
	if err != nil {
		return
	}
	last, err := r.feed.compare(ctx)
	done()
	switch {
	case err != nil:
		r.node.log.Debug("compare of room failed", "room", r.name, "error", err)
		r.mu.Lock()
		r.sweep = time.Now().Add(firstSweep)
		r.mu.Unlock()
	case !last:
		r.feed.fill(ctx)
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
