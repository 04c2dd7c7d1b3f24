package presence

import "time"

// NewJournaled is [New] for a table that also records its changes until [Table.TakeChanges] takes them.
func NewJournaled(linger time.Duration) *Table {
	t := New(linger)
	t.changes = make(map[string]map[string]change)
	return t
}

// change is what has happened to a client id since the last TakeChanges.
type change struct {
	was  bool // it was counted then,
	left bool // and has left since; it may be back
}

// note records that a user joins or leaves.
func (t *Table) note(room, id string, joins bool) {
	if t.changes == nil {
		return
	}
	if t.changes[room] == nil {
		t.changes[room] = make(map[string]change)
	}
	c, known := t.changes[room][id]
	c.was = c.was || !known && !joins
	c.left = c.left || c.was && !joins
	t.changes[room][id] = c
}

// TakeChanges returns which client ids have left the room since the last call, which have joined it, and how many
// streams without a client id it has now. A user that left and came back is in both lists. A user that came and left is
// in neither.
func (t *Table) TakeChanges(name string) (left, joined []string, anonymous int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[name]
	for id, c := range t.changes[name] {
		if c.left {
			left = append(left, id)
		}
		if r != nil && r.named[id] != nil && c.left == c.was {
			joined = append(joined, id)
		}
	}
	delete(t.changes, name)
	if r != nil {
		anonymous = r.anon + r.places
	}
	return left, joined, anonymous
}

// Members returns the client ids that the room counts, in no order, and how many streams without a client id it has. It
// takes the changes.
func (t *Table) Members(name string) (ids []string, anonymous int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.changes, name)
	if r := t.rooms[name]; r != nil {
		for id := range r.named {
			ids = append(ids, id)
		}
		anonymous = r.anon + r.places
	}
	return ids, anonymous
}

// Left returns how long the client id stays counted if its streams end now, at least longer if it has one. It is 0 if the
// client id does not stay.
func (t *Table) Left(name, id string, now time.Time, longer time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.find(name, id)
	if u == nil {
		return 0
	}
	stays := max(0, left(u.until, t.moment(now)))
	if u.open != nil && !u.leaving {
		stays = max(stays, longer)
	}
	return stays
}
