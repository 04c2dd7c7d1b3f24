package presence

import (
	"container/heap"
	"time"
)

// Expire removes every user whose lease has ended by now and that has no open stream that proves its presence. It tells
// their streams to end, and returns the rooms whose count it changed, each once.
func (t *Table) Expire(now time.Time) []string {
	changed, left := t.takeExpired(now)
	for _, s := range left {
		s.Left()
	}
	return changed
}

func (t *Table) takeExpired(now time.Time) (changed []string, left []Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	changed = t.expirePlaces(now)
	seen := make(map[string]struct{})
	for _, name := range changed {
		seen[name] = struct{}{}
	}
	for len(t.due) > 0 && t.due[0].until <= t.moment(now) {
		u := t.due[0]
		heap.Pop(&t.due)
		if u.proven() && !u.leaving {
			continue
		}
		left = append(left, u.streams()...)
		t.remove(u)
		if _, ok := seen[u.room.name]; !ok {
			seen[u.room.name] = struct{}{}
			changed = append(changed, u.room.name)
		}
	}
	return changed, left
}

// Postpone extends all leases and grace periods by d. It makes up for time in which the process did not run.
func (t *Table) Postpone(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, u := range t.due { // their order stays the same
		u.until += moment(d)
		if u.back != never {
			u.back += moment(d)
		}
	}
	if !t.placesUntil.IsZero() {
		t.placesUntil = t.placesUntil.Add(d)
	}
}

// Next returns when [Table.Expire] has something to do, and false if never.
func (t *Table) Next() (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.placesUntil
	if len(t.due) > 0 {
		if until := t.time(t.due[0].until); next.IsZero() || until.Before(next) {
			return until, true
		}
	}
	return next, !next.IsZero()
}

func (t *Table) setLease(u *user, until moment) {
	u.until = until
	if u.index < 0 {
		heap.Push(&t.due, u)
	} else {
		heap.Fix(&t.due, int(u.index))
	}
}

// dueHeap holds the users with a lease. The lease that ends first is on top.
type dueHeap []*user

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = int32(i), int32(j)
}

func (h *dueHeap) Push(x any) {
	u := x.(*user)
	u.index = int32(len(*h))
	*h = append(*h, u)
}

func (h *dueHeap) Pop() any {
	old := *h
	u := old[len(old)-1]
	old[len(old)-1] = nil
	u.index = -1
	*h = old[:len(old)-1]
	return u
}
