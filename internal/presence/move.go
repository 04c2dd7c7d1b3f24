package presence

import "time"

// A client id may show up on another node while this one still counts it. The user
// then moves: it is counted in one place only, the one that it reached last.

// Drop takes the client id out of the count because it has moved on, and reports
// whether it was counted and which streams it leaves behind, which should end.
func (t *Table) Drop(name, id string) (counted bool, left []Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.lookup(name, id)
	if u == nil {
		return false, nil
	}
	counted, left = !t.isAway(u), u.streams()
	t.remove(u)
	return counted, left
}

// Yield is Drop for a client id that may well have streams in several places: where
// it has some here they stay, and it is not counted until [Table.Take] says so or it
// opens another. It reports whether it was counted, and whether streams stay.
func (t *Table) Yield(name, id string) (counted, open bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.lookup(name, id)
	if u == nil || t.isAway(u) {
		return false, u != nil
	}
	if u.open == nil {
		t.remove(u)
		return true, false
	}
	t.setAway(u, true)
	return true, true
}

// Take counts a client id again that was yielded. It reports whether there was one.
func (t *Table) Take(name, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.lookup(name, id)
	if u == nil || !t.isAway(u) {
		return false
	}
	t.setAway(u, false)
	return true
}

// Has says that the client id is counted here.
func (t *Table) Has(name, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.lookup(name, id)
	return u != nil && !t.isAway(u)
}

// Knows says that the client id is counted here, or has streams here and is not.
func (t *Table) Knows(name, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lookup(name, id) != nil
}

// Until returns when the lease of the client id ends, or has ended; the zero time if it
// never had one.
func (t *Table) Until(name, id string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.lookup(name, id)
	if u == nil {
		return time.Time{}
	}
	return u.until
}

// Named returns the client ids that the room counts, in no order.
func (t *Table) Named(name string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[name]
	if r == nil {
		return nil
	}
	ids := make([]string, 0, len(r.named))
	for id, u := range r.named {
		if !t.isAway(u) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (t *Table) lookup(name, id string) *user {
	r := t.rooms[name]
	if r == nil {
		return nil
	}
	return r.named[id]
}

func (t *Table) isAway(u *user) bool {
	_, away := t.away[u.room][u]
	return away
}

func (t *Table) setAway(u *user, away bool) {
	set := t.away[u.room]
	switch {
	case !away && set != nil:
		if delete(set, u); len(set) == 0 {
			delete(t.away, u.room)
		}
	case away && set == nil:
		if t.away == nil {
			t.away = make(map[*room]map[*user]struct{})
		}
		t.away[u.room] = map[*user]struct{}{u: {}}
	case away:
		set[u] = struct{}{}
	}
}
