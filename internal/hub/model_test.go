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
	"headcount/internal/sse/ssetest"
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

func (m *model) check(*rapid.T) {
	for _, r := range m.readers {
		m.verify(r)
	}
}

// finish lets all subscribers read to the end.
func (m *model) finish() {
	time.Sleep(2 * time.Second) // longer than any throttling delay
	for _, r := range m.readers {
		r.client.read()
		next, seen := m.verify(r)
		if r.farewell {
			if _, ended := r.stream(); r.chunked && !ended {
				m.Fatalf("the stream that was ended has no last chunk: %q", r.log)
			}
			continue
		}
		if next != m.total+1 {
			m.Fatalf("a reader that has read all would get event %d next, want %d", next, m.total+1)
		}
		if !maps.Equal(seen, m.values) {
			m.Fatalf("a reader that has read all has states %v, want %v", seen, m.values)
		}
	}
}

// verify checks everything that a subscriber has got so far. It returns the next event that it should get, and the
// states that it knows.
func (m *model) verify(r *modelReader) (next int, seen map[string]int) {
	blocks := r.blocks()
	next, seen = r.next, map[string]int{}
	snapshot := 0 // how many states of the opening are still to come
	if rest := m.verifyOpening(r, blocks); rest != nil {
		blocks, snapshot = rest, len(m.values)
	} else {
		return next, seen
	}
	if r.informed {
		snapshot = 0
	}
	opening := true
	for _, b := range blocks {
		if b.Comments > 0 && r.named || !b.Dispatched {
			m.Fatalf("got %+v, want an event, and comments only without a name", b)
		}
		value, _ := strconv.Atoi(strings.TrimSpace(b.Data))
		switch {
		case snapshot > 0:
			snapshot--
			if _, ok := m.values[b.Name]; !ok || value < seen[b.Name] || opening && value != r.opening[b.Name] {
				m.Fatalf("got %q of %s after %d, want a state (at the start %v)", b.Data, b.Name, seen[b.Name], r.opening)
			}
			seen[b.Name] = value
			if snapshot == 0 {
				opening = false
			}
		case b.Name == "io:ping" && r.named:
		case b.Name == "n":
			if value != next {
				m.Fatalf("got event %d, want %d", value, next)
			}
			next++
		case b.Name == "io:gap":
			var missed int
			if _, err := fmt.Sscanf(b.Data, `{"missed":%d}`, &missed); err != nil || missed < 1 {
				m.Fatalf("got gap %s: %v", b.Data, err)
			}
			if next += missed; next > m.oldest() {
				m.Fatalf("told to have missed %d: the next is %d, but %d is kept", missed, next, m.oldest())
			}
			snapshot = len(m.values)
		case m.values[b.Name] > 0:
			if value <= seen[b.Name] {
				m.Fatalf("got %s %d after %d", b.Name, value, seen[b.Name])
			}
			seen[b.Name] = value
			place := b.Name + "=" + strconv.Itoa(value)
			if at, ok := m.places[place]; ok && at != next-1 {
				m.Fatalf("%s came after event %d, to another reader after %d", place, next-1, at)
			}
			m.places[place] = next - 1
		default:
			m.Fatalf("got %+v", b)
		}
		m.point(b.ID, next)
	}
	return next, seen
}

// verifyOpening checks the start of a stream, up to the states, and returns the rest. It returns nil if the start has
// not arrived yet.
func (m *model) verifyOpening(r *modelReader, blocks []ssetest.Block) []ssetest.Block {
	want := []string{"", "io:gap", "io:hello"}
	if !r.named {
		want[2] = ""
	}
	if r.gap == "" {
		want[1] = ""
	}
	if len(blocks) == 0 {
		return nil
	}
	if blocks[0].Retry != "1000" {
		m.Fatalf("the stream begins with %+v, want a retry within the first block", blocks[0])
	}
	for _, name := range []string{want[2], want[1]} {
		if name == "" {
			continue
		}
		if len(blocks) == 0 {
			return nil
		}
		if blocks[0].Name != name || name == "io:gap" && blocks[0].Data != `{"missed":`+r.gap+`}` {
			m.Fatalf("got %+v, want %s (missed %s)", blocks[0], name, r.gap)
		}
		if recovered := r.returns && r.gap == ""; name == "io:hello" && strings.Contains(blocks[0].Data, `"recovered":true`) != recovered {
			m.Fatalf("got %+v, want recovered=%v", blocks[0], recovered)
		}
		blocks = blocks[1:]
	}
	return blocks
}
