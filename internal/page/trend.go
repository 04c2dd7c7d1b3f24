package page

import (
	"sync"
	"time"
)

const (
	TrendStep  = 5 * time.Second
	trendSteps = 120 // ten minutes
	trendRooms = 100 // rooms are named by strangers: how many there may be is for us to say
)

// A Point is what a room's user count did in one step: the most it was, and what it was at the end. A line drawn through
// the ends alone would miss a peak that came and went within a step.
type Point struct{ Peak, Last int }

// Trend remembers the user counts of the last ten minutes, for at most trendRooms rooms. It knows no clock: every time is
// passed in. The room `always` is never dropped.
type Trend struct {
	always string

	mu    sync.Mutex
	rooms map[string]*roomTrend
}

// roomTrend is a ring of steps. A step is a number of 5 s periods since 1970; its place in the ring is step % trendSteps.
type roomTrend struct {
	first, at int64 // the oldest step known, and the newest
	changed   int64 // the step in which the count changed last
	users     int
	ring      [trendSteps]Point
}

// NewTrend returns a trend in which the room `always` has nobody from now on.
func NewTrend(always string, now time.Time) *Trend {
	t := &Trend{always: always, rooms: make(map[string]*roomTrend)}
	t.rooms[always] = newRoomTrend(stepOf(now))
	return t
}

// Counted notes that the room has this many users from now on.
func (t *Trend) Counted(room string, users int, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[room]
	if r == nil {
		if users == 0 {
			return
		}
		t.makeSpace()
		r = newRoomTrend(stepOf(now))
		t.rooms[room] = r
	}
	r.advance(stepOf(now))
	r.users, r.changed = users, r.at
	p := &r.ring[r.at%trendSteps]
	p.Last = users
	p.Peak = max(p.Peak, users)
}

// Points returns what is known of the room, one point a step, oldest first, the last one being now; nil if nothing is.
func (t *Trend) Points(room string, now time.Time) []Point {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[room]
	if r == nil {
		return nil
	}
	r.advance(stepOf(now))
	from := max(r.first, r.at-trendSteps+1)
	points := make([]Point, 0, r.at-from+1)
	for s := from; s <= r.at; s++ {
		points = append(points, r.ring[s%trendSteps])
	}
	return points
}

// makeSpace drops a room if there are as many as there may be: an empty one if possible, else the one that changed least
// recently.
func (t *Trend) makeSpace() {
	if len(t.rooms) < trendRooms {
		return
	}
	var drop string
	var worst *roomTrend
	for name, r := range t.rooms {
		if name != t.always && (worst == nil || r.lessWanted(worst)) {
			drop, worst = name, r
		}
	}
	delete(t.rooms, drop)
}

func newRoomTrend(step int64) *roomTrend {
	return &roomTrend{first: step, at: step, changed: step}
}

func (r *roomTrend) lessWanted(than *roomTrend) bool {
	if empty := r.users == 0; empty != (than.users == 0) {
		return empty
	}
	return r.changed < than.changed
}

// advance fills the steps up to this one with the count as it is. A clock that was set back changes nothing.
func (r *roomTrend) advance(step int64) {
	if step-r.at > trendSteps {
		r.at = step - trendSteps // the ring is about to be filled all the way round
	}
	for r.at < step {
		r.at++
		r.ring[r.at%trendSteps] = Point{Peak: r.users, Last: r.users}
	}
}

func stepOf(t time.Time) int64 { return t.Unix() / int64(TrendStep/time.Second) }
