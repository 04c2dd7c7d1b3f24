// Package presence knows which users are counted in each room.
//
// A [Table] is a pure data structure. It starts nothing, waits for nothing and reads no clock. The caller passes in the
// time, which must not run backwards. A Table is safe for concurrent use.
//
// The count is the size of a set, never a number that goes up and down. A user is in the set of a room while it has an
// open stream or a running lease. A stream that may outlive its client counts only by its lease.
package presence

import (
	"container/heap"
	"math"
	"strings"
	"time"

	"headcount/internal/lockorder"
)

// Table holds all users of one node. Make one with [New].
type Table struct {
	linger time.Duration
	start  time.Time // of its clock, the first time that it was given; guarded by mu

	mu    lockorder.Mutex[lockorder.Leaf]
	rooms map[string]*room
	due   dueHeap

	placesUntil time.Time // how long room.places counts; zero = there are none

	changes map[string]map[string]change // by room and client id; nil if the table is not journaled
	ended   Ticket                       // stands for all streams that have ended
}

type room struct {
	name   string
	named  map[string]*user // by client id
	anon   int              // streams without client id
	places int              // places kept for such streams, see OpenAgain
}

// user is one client id in one room. It exists while it is counted.
type user struct {
	room  *room
	id    string
	open  *Ticket // its open streams, linked
	last  *Ticket // its newest stream, Table.ended if that has ended; nil if it was renewed after that
	until moment  // when its lease ends
	back  moment  // until when a client whose stream has ended may reconnect
	// leaving is set when the user said goodbye for the end of its lease, see [Table.LeaveBy].
	leaving bool
	index   int32 // in Table.due, -1 if it is not there
}

// moment is a time on the clock of a table. A user has two of them, and a time.Time is three times as large.
type moment time.Duration

// never is before all other moments.
const never = math.MinInt64

// moment returns the moment of a time. The caller holds t.mu.
func (t *Table) moment(at time.Time) moment {
	if t.start.IsZero() {
		t.start = at
	}
	return moment(at.Sub(t.start))
}

func (t *Table) time(m moment) time.Time { return t.start.Add(time.Duration(m)) }

// Ticket is one open stream in the table. Release it with [Table.Close].
type Ticket struct {
	room   *room
	user   *user // nil for a stream without client id
	next   *Ticket
	stream Stream
	leased bool // being open proves nothing, so its user counts while a lease runs
	closed bool
}

// Stream is what a ticket stands for.
type Stream interface {
	// Ticket returns where the table keeps its part of the stream, so that a stream is one object.
	Ticket() *Ticket
	// Left is called when the user of the stream said goodbye or expired. The user is not counted any more, and the
	// stream should end. Left is called without any lock, from the caller of the table, and must not wait.
	Left()
}

// New returns an empty table. linger is how long a client id stays counted after its last stream closed without a
// goodbye, 0 or more.
func New(linger time.Duration) *Table {
	return &Table{linger: linger, rooms: make(map[string]*room), ended: Ticket{closed: true}}
}

func (t *Table) room(name string) *room {
	r := t.rooms[name]
	if r == nil {
		r = &room{name: name}
		t.rooms[name] = r
	}
	return r
}

// user returns the user of the client id. It creates one if there is none.
func (t *Table) user(r *room, id string) *user {
	u := r.named[id]
	if u == nil {
		t.note(r.name, id, true)
		u = &user{room: r, id: strings.Clone(id), until: never, back: never, index: -1} // id may be a substring of a long request
		if r.named == nil {
			r.named = make(map[string]*user)
		}
		r.named[u.id] = u
	}
	return u
}

// find returns the user of the client id, or nil if it is not counted.
func (t *Table) find(name, id string) *user {
	if r := t.rooms[name]; r != nil {
		return r.named[id]
	}
	return nil
}

func (t *Table) dropIfEmpty(r *room) {
	if len(r.named) == 0 && r.anon == 0 && r.places == 0 {
		delete(t.rooms, r.name)
	}
}

// Open counts a stream of the client id, or one without a client id if id is "".
func (t *Table) Open(name, id string, s Stream) *Ticket {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open(name, id, s)
}

func (t *Table) open(name, id string, s Stream) *Ticket {
	r := t.room(name)
	k := s.Ticket()
	*k = Ticket{room: r, stream: s}
	if id == "" {
		r.anon++
		return k
	}
	u := t.user(r, id)
	u.leaving = false
	k.user, k.next = u, u.open
	u.open, u.last = k, k
	return k
}

// Lease notes that an open stream of k proves nothing. It came through a proxy, which may keep it open after its client
// has gone. Its user is counted until the given time, and longer if [Table.Renew] is called. Lease changes nothing for
// a stream without a client id.
func (t *Table) Lease(k *Ticket, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := k.user
	if u == nil || k.closed || u.room.named[u.id] != u {
		return
	}
	k.leased = true
	if !u.leaving {
		t.setLease(u, max(u.until, t.moment(until)))
	}
}

// Close notes that the stream of k has ended. From now on a client id is in its grace period. A stream without a client
// id is gone. A second Close has no effect.
func (t *Table) Close(k *Ticket, now time.Time) { t.CloseFor(k, now, 0) }

// Returned notes that a client which was told to reconnect has done so with the stream of k. The table does not wait
// for it any more.
func (t *Table) Returned(k *Ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.user != nil {
		k.user.back = never
	}
}

// CloseFor is Close for a client that was told to reconnect. It gets that much longer to do so, even if another of its
// streams ends in the meantime, see [Table.Returned].
func (t *Table) CloseFor(k *Ticket, now time.Time, longer time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.closed {
		return
	}
	k.closed = true
	u := k.user
	if u == nil {
		k.room.anon--
		t.dropIfEmpty(k.room)
		return
	}
	for at := &u.open; *at != nil; at = &(*at).next {
		if *at == k {
			*at = k.next
			break
		}
	}
	if u.room.named[u.id] != u {
		return // it has left or expired
	}
	if u.last == k {
		u.last = &t.ended // the table keeps nothing of the stream
	}
	if u.leaving {
		return // no matter what ends now, the user has said when it leaves
	}
	u.back = max(u.back, t.moment(now.Add(t.linger+longer)))
	switch {
	case u.open == nil:
		until := u.back
		if u.last == nil {
			// Another tab has renewed the lease since the newest stream ended. So it does not matter that this older
			// stream has ended too, and that the table hears of it only now.
			until = max(u.until, until)
		}
		// In all other cases this also shortens a longer lease, because the stream is known to have ended.
		t.setLease(u, until)
		if until <= t.moment(now) {
			t.remove(u)
		}
	case !u.proven():
		// The streams that are left prove nothing, and their lease may have expired in the meantime.
		t.setLease(u, max(u.until, u.back))
	}
}

// proven reports whether the user has an open stream that proves its presence.
func (u *user) proven() bool {
	for k := u.open; k != nil; k = k.next {
		if !k.leased {
			return true
		}
	}
	return false
}

func (u *user) streams() []Stream {
	var open []Stream
	for k := u.open; k != nil; k = k.next {
		open = append(open, k.stream)
	}
	return open
}

// Renew counts the client id at least until the given time, even if it was not counted before, but not beyond a goodbye
// that [Table.LeaveBy] has for it, because a renewal may arrive after a goodbye that was sent later. It returns its
// open streams.
func (t *Table) Renew(name, id string, until time.Time) []Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.user(t.room(name), id)
	if u.last == &t.ended {
		u.last = nil
	}
	if !u.leaving {
		t.setLease(u, max(u.until, t.moment(until)))
	}
	return u.streams()
}

// Leave removes the client id from the count now, and asks its streams to end.
func (t *Table) Leave(name, id string) {
	t.mu.Lock()
	u := t.find(name, id)
	var left []Stream
	if u != nil {
		left = u.streams()
		t.remove(u)
	}
	t.mu.Unlock()
	for _, s := range left {
		s.Left()
	}
}

// LeaveBy removes the client id from the count at a given time, no matter which streams it has open now, unless it
// comes back before then with a new stream. A page that reloads says goodbye and comes back at once.
func (t *Table) LeaveBy(name, id string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.find(name, id)
	if u == nil {
		return
	}
	leaves := t.moment(at)
	if u.leaving || !u.proven() {
		leaves = min(leaves, u.until) // it may expire before that anyway
	}
	u.leaving = true
	t.setLease(u, leaves)
}

// Leases returns how many users have a lease or are in their grace period. Such users may be there without a stream.
func (t *Table) Leases() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.due)
}

// Count returns how many users the room has.
func (t *Table) Count(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[name]
	if r == nil {
		return 0
	}
	return t.count(r)
}

func (t *Table) count(r *room) int { return len(r.named) + r.anon + r.places }

// Has reports whether the room counts the client id.
func (t *Table) Has(name, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[name]
	return r != nil && r.named[id] != nil
}

// HasStream reports whether the client id has an open stream in the room.
func (t *Table) HasStream(name, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[name]
	return r != nil && r.named[id] != nil && r.named[id].open != nil
}

// Users returns how many users all rooms have together.
func (t *Table) Users() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, r := range t.rooms {
		n += t.count(r)
	}
	return n
}

// Room is a room with its count.
type Room struct {
	Name  string `json:"room"`
	Users int    `json:"users"`
}

// Rooms returns the rooms that have users, in no order.
func (t *Table) Rooms() []Room {
	t.mu.Lock()
	defer t.mu.Unlock()
	rooms := make([]Room, 0, len(t.rooms))
	for name, r := range t.rooms {
		rooms = append(rooms, Room{name, t.count(r)})
	}
	return rooms
}

func (t *Table) remove(u *user) {
	if u.index >= 0 {
		heap.Remove(&t.due, int(u.index))
	}
	delete(u.room.named, u.id)
	t.note(u.room.name, u.id, false)
	t.dropIfEmpty(u.room)
}
