package headcount

import (
	"context"

	"headcount/internal/lockorder"
)

// maxChanges is how many changes may wait for OnJoin and OnLeave. Beyond it, the changes of one room are combined.
const maxChanges = 10_000

// notifier is an Observer that calls OnJoin and OnLeave.
type notifier struct {
	Observer
	join, leave func(room string, users int)
	count       func(room string) int
	wake        chan struct{}

	mu      lockorder.Mutex[lockorder.Notifier]
	users   map[string]int
	waiting []*change
	newest  map[string]*change // of each room that has changes waiting
}

// change is a room's number of users before and after.
type change struct {
	room          string
	before, after int
}

// newNotifier returns nil if neither OnJoin nor OnLeave is set.
func newNotifier(opt Options) *notifier {
	if opt.OnJoin == nil && opt.OnLeave == nil {
		return nil
	}
	return &notifier{
		Observer: opt.Observer, join: opt.OnJoin, leave: opt.OnLeave, wake: make(chan struct{}, 1),
		users: make(map[string]int), newest: make(map[string]*change),
	}
}

// Counted implements [Observer]. Calls for one room may overtake each other, so it counts again.
func (n *notifier) Counted(room string, users int) {
	n.Observer.Counted(room, users)
	n.mu.Lock()
	defer n.mu.Unlock()
	after, before := n.count(room), n.users[room]
	if after == before {
		return
	}
	if n.users[room] = after; after == 0 {
		delete(n.users, room)
	}
	if c := n.newest[room]; c != nil && len(n.waiting) >= maxChanges {
		c.after = after
		return
	}
	c := &change{room, before, after}
	n.waiting, n.newest[room] = append(n.waiting, c), c
	select {
	case n.wake <- struct{}{}:
	default: // run will look anyway
	}
}

// run calls the functions until ctx is done.
func (n *notifier) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		}
		n.mu.Lock()
		changes := n.waiting
		n.waiting = nil
		clear(n.newest)
		n.mu.Unlock()
		for _, c := range changes {
			switch {
			case c.after > c.before && n.join != nil:
				n.join(c.room, c.after)
			case c.after < c.before && n.leave != nil:
				n.leave(c.room, c.after)
			}
		}
	}
}
