package presence

import "time"

// State is a table as plain data for the successor process. All times are remaining durations, so the two processes
// need not agree on a clock.
type State struct{ Rooms []RoomState }

// RoomState is a room of a [State].
type RoomState struct {
	Name      string
	Users     []UserState
	Anonymous int // streams without id, including those in their grace period
}

// UserState is a client id of a [State].
type UserState struct {
	ID    string
	Lease time.Duration // until it ends, may be past; never = it has had none
	Back  time.Duration // remaining time in which it may reconnect
	Due   bool          // the lease counts
	// Leaving is set when the user said goodbye for the end of its lease.
	Leaving bool
	Open    bool // it has open streams
	Last    Last
}

// Last is what is known about a user's newest stream.
type Last uint8

// The values of [Last].
const (
	Unknown Last = iota // it was renewed since that stream ended, or had none
	IsOpen
	IsClosed
)

// TicketState is an open stream, for [Table.Reopen].
type TicketState struct {
	ID     string // of its client, "" = none
	Leased bool
	Newest bool // it is its user's newest stream
	Left   bool // its user has left or expired, so it counts nobody
}

// left returns the time from now until m, or never.
func left(m, now moment) time.Duration {
	if m == never {
		return never
	}
	return time.Duration(m - now)
}

func after(d time.Duration, now moment) moment {
	if d == never {
		return never
	}
	return now + moment(d)
}

// Export returns the table as it is now.
func (t *Table) Export(now time.Time) State {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := State{Rooms: make([]RoomState, 0, len(t.rooms))}
	for _, r := range t.rooms {
		room := RoomState{Name: r.name, Anonymous: r.anon + r.places, Users: make([]UserState, 0, len(r.named))}
		for _, u := range r.named {
			room.Users = append(room.Users, u.export(t.moment(now)))
		}
		st.Rooms = append(st.Rooms, room)
	}
	return st
}

func (u *user) export(now moment) UserState {
	st := UserState{ID: u.id, Lease: left(u.until, now), Back: left(u.back, now), Due: u.index >= 0, Open: u.open != nil, Leaving: u.leaving}
	switch {
	case u.last == nil:
	case u.last.closed:
		st.Last = IsClosed
	default:
		st.Last = IsOpen
	}
	return st
}

// ExportTicket returns what [Table.Reopen] needs to know about an open stream.
func (t *Table) ExportTicket(k *Ticket) TicketState {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := k.user
	if u == nil {
		return TicketState{}
	}
	return TicketState{ID: u.id, Leased: k.leased, Newest: u.last == k, Left: u.room.named[u.id] != u}
}

// Reopen is [Table.Open] for a stream that was open in the table that [Table.Import] is about to bring.
func (t *Table) Reopen(name string, st TicketState, s Stream) *Ticket {
	if st.Left {
		r, k := &room{name: name}, s.Ticket()
		*k = Ticket{room: r, user: &user{room: r, id: st.ID, index: -1}, stream: s, leased: st.Leased}
		return k
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if st.ID == "" {
		return t.open(name, "", s)
	}
	newest := t.user(t.room(name), st.ID).last
	k := t.open(name, st.ID, s)
	if !st.Newest {
		k.user.last = newest // nil if it is still to come or is gone, and Import handles that
	}
	if k.leased = st.Leased; k.leased {
		t.setLease(k.user, k.user.until) // which Import brings
	}
	return k
}

// Import adds the users of st. All of their streams that were handed over must have been opened with [Table.Reopen]
// before. The other streams have ended without a goodbye, and their users get a grace period. It is longer by grace
// than that of other users that were told to reconnect. Streams without a client id cannot be told apart, so the table
// keeps as many places for them as there were streams, see [Table.OpenAgain].
func (t *Table) Import(st State, now time.Time, grace time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, room := range st.Rooms {
		r := t.room(room.Name)
		for _, u := range room.Users {
			t.importUser(t.user(r, u.ID), u, now, grace)
		}
		if r.places = max(0, room.Anonymous-r.anon); r.places > 0 {
			t.placesUntil = now.Add(t.linger + grace)
		}
		t.dropIfEmpty(r)
	}
}

func (t *Table) importUser(u *user, st UserState, now time.Time, grace time.Duration) {
	u.until, u.back, u.leaving = after(st.Lease, t.moment(now)), after(st.Back, t.moment(now)), st.Leaving
	if u.open == nil && st.Open && !u.leaving {
		u.back = max(u.back, t.moment(now.Add(t.linger+grace)))
		u.until = max(u.until, u.back)
	}
	switch {
	case st.Last == IsClosed:
		u.last = &t.ended
	case st.Last == IsOpen && u.last == nil: // the newest stream was not handed over
		u.last = u.open
	}
	if st.Due || !u.proven() {
		t.setLease(u, u.until)
	}
}

// OpenAgain is [Table.Open] for a stream without a client id whose client claims that it was here before. It takes one
// of the places that are kept, if there is one.
func (t *Table) OpenAgain(name string, s Stream) *Ticket {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.open(name, "", s)
	if k.room.places > 0 {
		k.room.places--
	}
	return k
}

// expirePlaces gives up the places of streams without a client id when their grace period is over.
func (t *Table) expirePlaces(now time.Time) (changed []string) {
	if t.placesUntil.IsZero() || t.placesUntil.After(now) {
		return nil
	}
	t.placesUntil = time.Time{}
	for _, r := range t.rooms {
		if r.places > 0 {
			r.places = 0
			changed = append(changed, r.name)
			t.dropIfEmpty(r)
		}
	}
	return changed
}
