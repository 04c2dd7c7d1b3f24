package page

import (
	"sync"
	"time"
)

const (
	TrendStep  = 5 * time.Second
	trendSteps = 120 // ten minutes
	trendRooms = 100 // strangers choose the names of rooms, so their number is limited
)

// Point is the highest and the last user count of a room in one step. A line through the last values alone would miss a
// peak within a step.
type Point struct{ Peak, Last int }

// Trend keeps the user counts of the last ten minutes for at most trendRooms rooms. It reads no clock. Every time is
// passed in. The room `always` is never dropped.
type Trend struct {
	always string

	mu    sync.Mutex
	rooms map[string]*roomTrend
}

// roomTrend is a ring of steps. A step is a number of 5 s periods since 1970. Its index in the ring is step %
// trendSteps.
type roomTrend struct {
	first, at int64 // the oldest and the newest known step
	changed   int64 // the last step in which the count changed
	users     int
	ring      [trendSteps]Point
}

// NewTrend returns a trend in which the room `always` has 0 users from now on.
func NewTrend(always string, now time.Time) *Trend {
	t := &Trend{always: always, rooms: make(map[string]*roomTrend)}
	t.rooms[always] = newRoomTrend(stepOf(now))
	return t
}

// Counted records the room's number of users from now on.
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

// Points returns the trend of the room with one point per step, oldest first. The last point is now. It returns nil for
// an unknown room.
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

// makeSpace drops a room if the maximum is reached. It prefers an empty room, and otherwise drops the room that changed
// least recently.
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

// advance fills the steps up to this one with the current count. It ignores a clock that was set back.
func (r *roomTrend) advance(step int64) {
	if step-r.at > trendSteps {
		r.at = step - trendSteps // the ring is filled completely
	}
	for r.at < step {
		r.at++
		r.ring[r.at%trendSteps] = Point{Peak: r.users, Last: r.users}
	}
}

func stepOf(t time.Time) int64 { return t.Unix() / int64(TrendStep/time.Second) }
