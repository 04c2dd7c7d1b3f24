package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"headcount/internal/hub"
)

const (
	sweepEvery = time.Minute     // how often a room is compared with what is stored
	firstSweep = 2 * time.Second // after it was opened: something may have been under way
	longest    = time.Second     // wait of a reader for its room
)

// room is a room that this node has open.
type room struct {
	node  *Node
	name  string
	token string
	feed  feed  // its events
	tally tally // its users

	loaded chan struct{} // closed once events and counts are known
	gone   chan struct{} // closed when the room is
	left   chan struct{} // closed when the others have been told so
	before *room         // of the same name, which has not told them yet; nil = none

	mu    sync.Mutex
	subs  []*nats.Subscription
	sweep time.Time // when to compare next
	again bool      // the entries of the others were read once more since it was opened
	ready bool      // loaded is closed
}

func newRoom(n *Node, h *hub.Room) *room {
	name := h.Name()
	r := &room{
		node: n, name: name, token: token(name),
		loaded: make(chan struct{}), gone: make(chan struct{}), left: make(chan struct{}),
		sweep: time.Now().Add(firstSweep),
	}
	r.feed = feed{node: n, room: r, hub: h}
	r.tally.node, r.tally.room = n, r
	r.tally.reset(n.entryID())
	return r
}

// begin subscribes to the room and loads it.
func (r *room) begin(ctx context.Context) {
	n := r.node
	if r.before != nil {
		select {
		case <-r.before.left:
		case <-ctx.Done():
			return
		}
		r.tally.speak()
	}
	for _, subject := range []string{n.names.live(r.token), n.names.count(r.token, "*")} {
		sub, err := n.nc.ChanSubscribe(subject, n.inbox)
		if err != nil {
			n.log.Warn("room is not heard", "error", err)
			return // the connection is closed
		}
		r.mu.Lock()
		r.subs = append(r.subs, sub)
		r.mu.Unlock()
	}
	select {
	case <-r.gone: // by now: close may have found no subscription yet
		r.unsubscribe()
	default:
		r.refresh(ctx)
	}
}

// close ends the interest in the room.
func (r *room) close(context.Context) {
	close(r.gone)
	r.unsubscribe()
	r.tally.close()
	close(r.left)
	r.node.mu.Lock()
	defer r.node.mu.Unlock()
	if r.node.leaving[r.name] == r {
		delete(r.node.leaving, r.name)
	}
}

func (r *room) unsubscribe() {
	r.mu.Lock()
	subs := r.subs
	r.subs = nil
	r.mu.Unlock()
	for _, sub := range subs {
		_ = sub.Unsubscribe() // an error says that the connection is closed
	}
}

// refresh brings events and counts up to date, for as long as that takes.
func (r *room) refresh(ctx context.Context) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := r.load(ctx)
		if err == nil {
			break
		}
		r.node.log.Debug("room is not up to date", "room", r.name, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-r.gone:
			return
		case <-time.After(wait):
		}
	}
	r.mu.Lock()
	if !r.ready {
		r.ready = true
		close(r.loaded)
	}
	r.mu.Unlock()
	r.tally.repeat()
	r.node.local.Recount(r.name)
}

func (r *room) load(ctx context.Context) error {
	n := r.node
	if n.streams.Load() == nil || !n.nc.IsConnected() {
		return errAway
	}
	// The server must know of the subscriptions before it is asked for what is so now.
	flush, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.nc.FlushWithContext(flush); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return errors.Join(r.readCounts(ctx), r.feed.catchUp(ctx)) // each is worth having without the other
}

// sweep has the rooms that are due compared with what is stored.
func (n *Node) sweep() {
	now := time.Now()
	for _, r := range n.open() {
		r.mu.Lock()
		due := r.ready && now.After(r.sweep)
		if due {
			r.sweep = now.Add(sweepEvery*3/4 + rand.N(sweepEvery/4))
		}
		r.mu.Unlock()
		if due {
			n.tasks.add(r.compare)
		}
	}
}

// compare brings the room up to date if something was missed, and says again what
// this node has said of it: as all others do, so that their entries need be read only
// once more, after the room was opened.
func (r *room) compare(ctx context.Context) {
	n := r.node
	r.mu.Lock()
	first := !r.again
	r.mu.Unlock()
	done, err := slot(ctx, n.own.requests)
	if err != nil {
		return
	}
	last, err := r.feed.compare(ctx)
	done()
	if err == nil && !last {
		r.feed.fill(ctx)
	}
	if err == nil && first {
		err = r.readCounts(ctx)
	}
	r.mu.Lock()
	if err != nil {
		r.sweep = time.Now().Add(firstSweep)
	} else {
		r.again = true
	}
	r.mu.Unlock()
	if err != nil {
		n.log.Debug("room was not compared", "room", r.name, "error", err)
	}
	r.tally.again()
}

// wait waits until the room is loaded, but not for long.
func (r *room) wait(ctx context.Context) {
	if !r.node.nc.IsConnected() {
		return
	}
	select {
	case <-r.loaded:
		return
	default:
	}
	long := time.NewTimer(longest)
	defer long.Stop()
	select {
	case <-r.loaded:
	case <-long.C:
	case <-ctx.Done():
	}
}
