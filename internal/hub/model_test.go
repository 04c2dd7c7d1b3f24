package hub_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"headcount/internal/hub"
)

// TestModel emits events, sets states, and lets clients join, read in pieces, fall behind, disconnect and reconnect
// with any cursor, by stream or poll, also after a restart. Each subscriber gets every event once and in order, or an
// exact count of the events it missed. All subscribers see the states at the same places, and the newest state in the
// end.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		inBubble(t, func() {
			m := newModel(r)
			r.Repeat(map[string]func(*rapid.T){
				"emit":      m.emit,
				"emit many": m.emitMany,
				"set":       m.set,
				"wait":      m.wait,
				"join":      m.join,
				"read":      m.read,
				"read all":  m.readAll,
				"heartbeat": m.heartbeat,
				"break":     m.breakOff,
				"come back": m.comeBack,
				"poll":      m.poll,
				"farewell":  m.farewell,
				"restart":   m.restart,
				"hand over": m.handOver,
				"":          m.check,
			})
			m.finish()
		})
	})
}

// inBubble runs f in a bubble of its own. rapid reports a failure by a panic and expects it on its own goroutine.
func inBubble(t *testing.T, f func()) {
	var failure any
	synctest.Test(t, func(*testing.T) {
		defer func() { failure = recover() }()
		f()
	})
	if failure != nil {
		panic(failure)
	}
}

const (
	modelHistory = 6
	modelReaders = 6
)

// model is one room as its subscribers see it.
type model struct {
	*rapid.T
	hub       *hub.Hub
	room      *hub.Room
	total     int            // events emitted, called "n" with their number as data
	restarted int            // total at the last restart
	values    map[string]int // of each state; they only grow
	places    map[string]int // of each published value, the event before it
	cursors   map[string]int // for each id that a subscriber got, the next event to that subscriber
	old       []string       // cursors from before the restart
	readers   []*modelReader
}

// modelReader is a client and what it should get.
type modelReader struct {
	client
	named    bool
	next     int    // the first event after the opening
	gap      string // how many missed events the opening should report
	returns  bool   // it has a cursor
	opening  map[string]int
	farewell bool
	informed bool // it polls, and its cursor contains the states it has seen
}

func newModel(t *rapid.T) *model {
	m := &model{T: t, values: map[string]int{"user count": 0, "weather": 0}, cursors: map[string]int{}}
	m.start()
	return m
}

func (m *model) start() {
	m.hub = hub.New(hub.Options{History: modelHistory})
	m.room = m.hub.Open("a")
	m.places = map[string]int{}
	m.restarted = m.total
	for _, name := range m.names() {
		m.update(name)
	}
}

func (m *model) names() []string { return slices.Sorted(maps.Keys(m.values)) }

func (m *model) update(name string) {
	m.values[name]++
	m.room.Update(name, set(strconv.Itoa(m.values[name])))
}

// oldest is the number of the oldest event that is kept.
func (m *model) oldest() int { return max(m.restarted, m.total-modelHistory) + 1 }

func (m *model) emit(t *rapid.T) {
	m.total++
	size := rapid.SampledFrom([]int{0, 0, 0, 100, 70 << 10}).Draw(t, "size")
	m.hub.Emit("a", "n", []byte(strconv.Itoa(m.total)+strings.Repeat(" ", size)))
}

func (m *model) emitMany(t *rapid.T) {
	for range rapid.IntRange(2, 2*modelHistory).Draw(t, "events") {
		m.total++
		m.hub.Emit("a", "n", []byte(strconv.Itoa(m.total)))
	}
}

func (m *model) set(t *rapid.T) { m.update(rapid.SampledFrom(m.names()).Draw(t, "state")) }

func (m *model) wait(t *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(1, 300).Draw(t, "ms")) * time.Millisecond)
}

func (m *model) join(t *rapid.T) {
	if len(m.readers) < modelReaders {
		m.open(t, "", m.total+1, "")
	}
}

func (m *model) open(t *rapid.T, cursor string, next int, gap string) {
	r, who := m.reader(t, cursor, next, gap)
	who.Chunked = rapid.Bool().Draw(t, "chunked")
	r.client = *join(m.room, who)
	m.readers = append(m.readers, r)
}

func (m *model) reader(t *rapid.T, cursor string, next int, gap string) (*modelReader, hub.JoinOptions) {
	r := &modelReader{named: rapid.Bool().Draw(t, "named"), next: next, gap: gap, returns: cursor != "", opening: maps.Clone(m.values)}
	who := hub.JoinOptions{Cursor: cursor}
	if r.named {
		who.ClientID = "abcdefgh"
	}
	return r, who
}

// pick returns one of the subscribers, or nil if there are none.
func (m *model) pick(t *rapid.T) *modelReader {
	if len(m.readers) == 0 {
		return nil
	}
	return m.readers[rapid.IntRange(0, len(m.readers)-1).Draw(t, "reader")]
}

func (m *model) read(t *rapid.T) {
	if r := m.pick(t); r != nil && r.sub.Pending(&r.batch) {
		r.take(rapid.IntRange(0, r.batch.Len()).Draw(t, "bytes"))
	}
}

func (m *model) readAll(t *rapid.T) {
	if r := m.pick(t); r != nil {
		r.client.read()
	}
}

func (m *model) heartbeat(t *rapid.T) {
	if r := m.pick(t); r != nil && !r.farewell && !r.sub.Pending(&r.batch) {
		r.sub.Heartbeat(&r.batch)
		r.take(rapid.IntRange(0, r.batch.Len()).Draw(t, "bytes"))
	}
}

func (m *model) farewell(t *rapid.T) {
	if r := m.pick(t); r != nil && !r.farewell && r.sub.Clean() {
		r.farewell = true
		r.sub.Farewell(&r.batch, 2*time.Second)
		r.take(rapid.IntRange(0, r.batch.Len()).Draw(t, "bytes"))
	}
}

// breakOff ends a stream where it is, perhaps in the middle of an event.
func (m *model) breakOff(t *rapid.T) {
	if r := m.pick(t); r != nil {
		m.verify(r)
		m.readers = slices.DeleteFunc(m.readers, func(o *modelReader) bool { return o == r })
	}
}

// comeBack joins with a cursor that some subscriber got before, or with an invalid one.
func (m *model) comeBack(t *rapid.T) {
	if len(m.readers) < modelReaders {
		cursor, next, gap := m.cursor(t)
		m.open(t, cursor, next, gap)
	}
}

// poll is one immediate answer to a cursor that some subscriber got before, or to an invalid one.
func (m *model) poll(t *rapid.T) {
	cursor, next, gap := m.cursor(t)
	r, who := m.reader(t, cursor, next, gap)
	who.Retry, who.Newcomer = time.Second, rapid.Bool().Draw(t, "newcomer")
	r.informed = gap == "" && !who.Newcomer && !strings.HasSuffix(cursor, ".0")
	var news bool
	r.sub, r.log, news = m.room.Poll(who)
	if news == r.informed {
		m.Fatalf("poll with %s reports news: %v, want %v", cursor, news, !r.informed)
	}
	if r.sub.Pending(&r.batch) {
		r.take(r.batch.Len())
	}
	next, _ = m.verify(r)
	m.point(r.sub.Cursor(), next)
}

// cursor returns a cursor that some subscriber got before, or an invalid one. It also returns what such a client must
// get, which is the next event and the gap before it.
func (m *model) cursor(t *rapid.T) (cursor string, next int, gap string) {
	known := slices.Sorted(maps.Keys(m.cursors))
	// The tags in cursors are random. Choose by number, so that rapid can repeat it.
	slices.SortFunc(known, func(a, b string) int { return strings.Compare(cutTags(a), cutTags(b)) })
	all := append(slices.Clone(m.old), "rubbish", "a.b.c.d", "....")
	i := rapid.IntRange(0, len(known)+len(all)-1).Draw(t, "cursor")
	if i >= len(known) {
		return all[i-len(known)], m.oldest(), "null"
	}
	next = m.cursors[known[i]]
	if next < m.oldest() {
		next, gap = m.oldest(), strconv.Itoa(m.oldest()-next)
	}
	return known[i], next, gap
}

// point notes that the next event to a subscriber with the cursor is next.
func (m *model) point(cursor string, next int) {
	if at, ok := m.cursors[cursor]; ok && at != next {
		m.Fatalf("cursor %s stands before event %d and before %d", cursor, at, next)
	}
	m.cursors[cursor] = next
}

func cutTags(cursor string) string {
	part := strings.Split(cursor, ".")
	return fmt.Sprintf("%10s%10s", part[1], part[3])
}

// restart starts another hub. All streams break, and no cursor is valid any more.
func (m *model) restart(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
		return
	}
	for _, r := range m.readers {
		m.verify(r)
	}
	for cursor := range m.cursors {
		m.old = []string{cursor} // a single one is enough
	}
	m.readers = nil
	clear(m.cursors)
	m.start()
}

// handOver continues with another hub, as a successor process does. The subscribers must not notice, so the model does
// not change.
func (m *model) handOver(*rapid.T) {
	next := hub.New(hub.Options{History: modelHistory})
	next.Import(m.hub.Export())
	room := next.Open("a")
	for _, r := range m.readers {
		r.sub = room.Resume(r.sub.Export())
	}
	m.hub, m.room = next, room
}
