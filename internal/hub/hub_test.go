package hub_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/hub"
)

// A newcomer gets the newest value, also one that the others have not been told yet,
// and not again when they are.
func TestNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{})
		room := h.Open("a")
		old := join(room, hub.Reader{})
		room.Update("user count", set("1"))
		room.Update("user count", set("2")) // held back by the pacing
		old.want(t, "the others meanwhile", "user count 1")
		newcomer := join(room, hub.Reader{})
		newcomer.want(t, "the newcomer", "user count 2")
		time.Sleep(time.Second)
		old.want(t, "the others later", "user count 1", "user count 2")
		newcomer.want(t, "the newcomer later", "user count 2")
		room.Update("user count", set("3"))
		newcomer.want(t, "the newcomer at the next change", "user count 2", "user count 3")
	})
}

// States and events have one order, whenever a reader looks.
func TestOneOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{})
		room := h.Open("a")
		early, late := join(room, hub.Reader{}), join(room, hub.Reader{})
		step := func(f func()) {
			f()
			early.read()
			time.Sleep(time.Second)
			early.read()
		}
		step(func() { h.Emit("a", "news", []byte("1")) })
		step(func() { room.Update("user count", set("5")) })
		step(func() { h.Emit("a", "news", []byte("2")) })
		want := []string{"news 1", "user count 5", "news 2"}
		early.want(t, "who looked each time", want...)
		late.want(t, "who looked once", want...)
	})
}

// A reader that the history has overtaken gets exactly what it missed told, then the
// states, then what is kept; one inside of an event gets the rest of that first.
func TestOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{History: 3})
		room := h.Open("a")
		room.Update("user count", set("1"))
		slow, inside := join(room, hub.Reader{}), join(room, hub.Reader{Chunked: true})
		slow.read()
		inside.read()
		for n := range 10 {
			h.Emit("a", "n", []byte(strconv.Itoa(n+1)))
			if n == 0 {
				inside.sub.Pending(&inside.batch)
				inside.take(5)
			}
		}
		time.Sleep(time.Second)
		room.Update("user count", set("2"))
		slow.want(t, "slow", "user count 1", `io:gap {"missed":7}`, "user count 2", "n 8", "n 9", "n 10")
		inside.want(t, "inside", "user count 1", "n 1", `io:gap {"missed":6}`, "user count 2", "n 8", "n 9", "n 10")
		// The gap is a place to come back to.
		for _, b := range slow.blocks() {
			if b.Name == "io:gap" {
				back := join(room, hub.Reader{Cursor: b.ID})
				back.want(t, "back at the gap", "user count 2", "n 8", "n 9", "n 10")
			}
		}
	})
}

// A farewell of which nothing could go yet goes later, and nothing comes behind it.
func TestFarewellWaits(t *testing.T) {
	h := hub.New(hub.Options{})
	c := join(h.Open("a"), hub.Reader{Chunked: true})
	c.read()
	c.sub.Farewell(&c.batch, 2*time.Second)
	c.take(0)
	h.Emit("a", "n", []byte("1"))
	c.want(t, "after the farewell")
	if _, ended := c.stream(); !ended || !strings.HasSuffix(string(c.log), "retry: 2000\n\n\r\n0\r\n\r\n") {
		t.Errorf("got %q, want a farewell and the last chunk", c.log)
	}
}

// A cursor that this hub did not write is never an error and never silence.
func TestUnknownCursors(t *testing.T) {
	h := hub.New(hub.Options{})
	good := h.Emit("a", "n", []byte("1"))
	part := strings.Split(good, ".")
	restarted := hub.New(hub.Options{}).Emit("a", "n", []byte("1"))
	for name, cursor := range map[string]string{
		"from before a restart": restarted,
		"not a cursor":          "17",
		"dots":                  "...",
		"truncated":             good[:len(good)/2],
		"future":                part[0] + ".2." + part[2] + ".0",
		"far future":            fmt.Sprintf("%s.%d.%s.0", part[0], uint64(math.MaxUint64), part[2]),
		"no number":             part[0] + ".x." + part[2] + ".0",
		"negative":              part[0] + ".-1." + part[2] + ".0",
		"more than 64 bits":     part[0] + ".18446744073709551616." + part[2] + ".0",
		"control characters":    "\x00\x01",
		"long":                  strings.Repeat("9.", 10_000),
	} {
		join(h.Open("a"), hub.Reader{Cursor: cursor}).want(t, name, `io:gap {"missed":null}`, "n 1")
	}
	for name, cursor := range map[string]string{
		"as it was":       good,
		"other node":      part[0] + ".1.xxxx.77",
		"strange version": part[0] + ".1." + part[2] + ".99999999999999999999",
	} {
		join(h.Open("a"), hub.Reader{Cursor: cursor}).want(t, name)
	}
	join(h.Open("a"), hub.Reader{Cursor: part[0] + ".0." + part[2] + ".0"}).want(t, "before the first", "n 1")
}

// A room that was dropped and made anew tells old cursors apart.
func TestRoomMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{HistoryAge: time.Minute, Idle: time.Minute})
		first := h.Emit("a", "n", []byte("1"))
		last := h.Emit("a", "n", []byte("2"))
		time.Sleep(3 * time.Minute)
		h.Trim(time.Now())
		if h.Rooms() != 0 {
			t.Fatalf("got %d rooms, want none", h.Rooms())
		}
		room := h.Open("a")
		room.Update("user count", set("1"))
		h.Emit("a", "n", []byte("3"))
		join(room, hub.Reader{Cursor: last}).want(t, "who had read all", "user count 1", "n 3")
		join(room, hub.Reader{Cursor: first}).want(t, "who had not", `io:gap {"missed":null}`, "user count 1", "n 3")
		// Another room's events do not make it lie.
		h.Close(room)
		h.Emit("b", "n", []byte("1"))
		time.Sleep(3 * time.Minute)
		h.Trim(time.Now())
		room = h.Open("a")
		h.Emit("a", "n", []byte("4"))
		if got := join(room, hub.Reader{Cursor: last}).events(); len(got) < 2 || got[0] != `io:gap {"missed":null}` {
			t.Errorf("got %v, want a gap: event 3 was missed", got)
		}
	})
}

// A room lives on for those who come back, and then leaves nothing.
func TestIdleRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{Idle: time.Minute})
		room := h.Open("a")
		h.Open("a")
		h.Close(room)
		time.Sleep(time.Hour)
		h.Trim(time.Now())
		if h.Lookup("a") != room {
			t.Error("a room that is open was dropped")
		}
		h.Close(room)
		time.Sleep(time.Minute - 1)
		h.Trim(time.Now())
		if h.Lookup("a") != room {
			t.Error("a room was dropped too early")
		}
		if h.Open("a") != room {
			t.Error("a room was made anew too early")
		}
		time.Sleep(time.Hour)
		h.Trim(time.Now())
		if h.Lookup("a") != room {
			t.Error("a room that is open again was dropped")
		}
		h.Close(room)
		time.Sleep(time.Minute)
		h.Trim(time.Now())
		if h.Rooms() != 0 {
			t.Error("a room is left that nobody uses")
		}
	})
}

// A room with history lives on as long as that.
func TestIdleRoomWithHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{Idle: time.Minute, HistoryAge: time.Hour})
		cursor := h.Emit("a", "n", []byte("1"))
		h.Emit("a", "n", []byte("2"))
		time.Sleep(time.Hour - 1)
		h.Trim(time.Now())
		join(h.Open("a"), hub.Reader{Cursor: cursor}).want(t, "back after an hour", "n 2")
	})
}

func TestHistoryBounds(t *testing.T) {
	t.Run("number", func(t *testing.T) {
		h := hub.New(hub.Options{History: 5})
		for n := range 100 {
			h.Emit("a", "n", []byte(strconv.Itoa(n)))
			h.Emit("b", "n", []byte(strconv.Itoa(n)))
		}
		if n, _ := h.History(); n != 10 {
			t.Errorf("got %d events in two rooms, want 10", n)
		}
	})
	t.Run("age", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := hub.New(hub.Options{HistoryAge: time.Minute})
			before := h.Emit("a", "n", []byte("1"))
			time.Sleep(30 * time.Second)
			h.Emit("a", "n", []byte("2"))
			time.Sleep(31 * time.Second)
			h.Trim(time.Now())
			if n, _ := h.History(); n != 1 {
				t.Errorf("got %d events, want 1", n)
			}
			start := strings.Replace(before, ".1.", ".0.", 1)
			join(h.Open("a"), hub.Reader{Cursor: start}).want(t, "from the start", `io:gap {"missed":1}`, "n 2")
		})
	})
	t.Run("bytes of all rooms", func(t *testing.T) {
		const limit = 100 << 10
		h := hub.New(hub.Options{HistoryBytes: limit})
		for n := range 1000 {
			h.Emit(fmt.Sprint("room", n%50), "n", []byte(strings.Repeat("x", 1000)))
			if _, size := h.History(); size > limit {
				t.Fatalf("%d bytes are kept, want %d at most", size, limit)
			}
		}
		if n, size := h.History(); size < limit/2 || n < 40 {
			t.Errorf("%d events of %d bytes are kept, want nearly %d", n, size, limit)
		}
	})
}

// Any number of names costs nothing lasting, with events and without.
func TestManyNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{HistoryAge: time.Minute, Idle: time.Minute, HistoryBytes: 1 << 20})
		for n := range 20_000 {
			name := fmt.Sprint("room", n)
			if n%2 == 0 {
				h.Emit(name, "n", []byte("1"))
			}
			room := h.Open(name)
			room.Update("user count", set("1"))
			room.Update("user count", set("0")) // arms the timer of the pacing
			h.Close(room)
		}
		time.Sleep(2 * time.Minute)
		h.Trim(time.Now())
		if n, size := h.History(); n != 0 || size != 0 || h.Rooms() != 0 {
			t.Errorf("left are %d rooms, %d events, %d bytes, want nothing", h.Rooms(), n, size)
		}
	})
}

// Attach wakes once for each piece of news, however often it was attached, until it is
// detached as often; Changed is closed by news.
func TestWakers(t *testing.T) {
	h := hub.New(hub.Options{})
	room := h.Open("a")
	woken := 0
	wake := func() { woken++ }
	room.Attach("key", wake)
	room.Attach("key", wake)
	changed := room.Changed()
	h.Emit("a", "n", []byte("1"))
	select {
	case <-changed:
	default:
		t.Error("Changed is not closed by an event")
	}
	room.Detach("key")
	h.Emit("a", "n", []byte("2"))
	room.Detach("key")
	h.Emit("a", "n", []byte("3"))
	if woken != 2 {
		t.Errorf("woken %d times, want 2", woken)
	}
}

// Everything at once from everywhere: for the race detector, and for the promise that
// nobody who reads to the end misses anything.
func TestConcurrently(t *testing.T) {
	h := hub.New(hub.Options{History: 100_000})
	room := h.Open("a")
	var writers, readers sync.WaitGroup
	const emitters, each = 4, 500
	done := make(chan struct{})
	for range 4 {
		c := join(room, hub.Reader{Chunked: true})
		readers.Go(func() {
			for running := true; running; {
				changed := room.Changed()
				select {
				case <-done:
					running = false
				default:
				}
				c.read()
				if running {
					select {
					case <-changed:
					case <-done:
					}
				}
			}
			var next [emitters]int
			for _, e := range c.events() {
				var i, n int
				if _, err := fmt.Sscanf(e, "n%d %d", &i, &n); err != nil {
					continue
				}
				if n != next[i] {
					t.Errorf("got event %d of emitter %d, want %d", n, i, next[i])
					return
				}
				next[i]++
			}
			for i, n := range next {
				if n != each {
					t.Errorf("got %d events of emitter %d, want %d", n, i, each)
				}
			}
		})
	}
	for i := range emitters {
		writers.Go(func() {
			for n := range each {
				h.Emit("a", fmt.Sprint("n", i), []byte(strconv.Itoa(n)))
				room.Update("user count", set(fmt.Sprint(i, n)))
				h.Close(h.Open(fmt.Sprint("other", n%7)))
				h.Trim(time.Now())
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
}

// FuzzCursor: whatever a client sends as its cursor, the stream opens, with a gap
// unless the cursor is one of this hub's.
func FuzzCursor(f *testing.F) {
	for _, cursor := range []string{"", "17", "a.1.b.2", "....", "\x00", "a.1.b", strings.Repeat("1", 5000)} {
		f.Add(cursor, uint64(0), uint64(0))
	}
	f.Add("", uint64(1), uint64(1))
	f.Add("", uint64(math.MaxUint64), uint64(math.MaxUint64))
	h := hub.New(hub.Options{History: 2})
	room := h.Open("a")
	room.Update("user count", set("1"))
	var tags []string
	for n := range 5 {
		tags = strings.Split(h.Emit("a", "n", []byte(strconv.Itoa(n+1))), ".")
	}
	kept := []string{"user count 1", "n 4", "n 5"}
	f.Fuzz(func(t *testing.T, cursor string, seq, version uint64) {
		if cursor != "" {
			join(room, hub.Reader{Cursor: cursor}).want(t, cursor, append([]string{`io:gap {"missed":null}`}, kept...)...)
		}
		cursor = fmt.Sprintf("%s.%d.%s.%d", tags[0], seq, tags[2], version)
		got := join(room, hub.Reader{Cursor: cursor})
		switch {
		case seq < 3:
			got.want(t, cursor, append([]string{fmt.Sprintf(`io:gap {"missed":%d}`, 3-seq)}, kept...)...)
		case seq <= 5:
			got.want(t, cursor, append([]string{"user count 1"}, kept[1+seq-3:]...)...)
		default:
			got.want(t, cursor, append([]string{`io:gap {"missed":null}`}, kept...)...)
		}
	})
}

// What a reader has got is no allocation, nor is finding it.
func TestPendingAllocatesNothing(t *testing.T) {
	h := hub.New(hub.Options{History: 10})
	room := h.Open("a")
	sub := room.Join(hub.Reader{Chunked: true})
	var batch hub.Batch
	read := func() {
		for sub.Pending(&batch) {
			sub.Advance(&batch, batch.Len())
		}
	}
	read()
	n := 0
	got := testing.AllocsPerRun(100, func() {
		n++
		h.Emit("a", "n", []byte("1"))
	})
	with := testing.AllocsPerRun(100, func() {
		n++
		h.Emit("a", "n", []byte("1"))
		read()
	})
	if with > got {
		t.Errorf("reading an event takes %v allocations, want none", with-got)
	}
}

func BenchmarkPending(b *testing.B) {
	h := hub.New(hub.Options{})
	room := h.Open("a")
	sub := room.Join(hub.Reader{Chunked: true})
	var batch hub.Batch
	for sub.Pending(&batch) {
		sub.Advance(&batch, batch.Len())
	}
	b.Run("nothing", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sub.Pending(&batch)
		}
	})
	b.Run("one event with emit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.Emit("a", "n", []byte(`{"hello":"world"}`))
			sub.Pending(&batch)
			sub.Advance(&batch, batch.Len())
		}
	})
}

func BenchmarkEmit(b *testing.B) {
	h := hub.New(hub.Options{})
	data := []byte(`"` + strings.Repeat("x", 200) + `"`)
	b.ReportAllocs()
	for b.Loop() {
		h.Emit("a", "news", data)
	}
}

func BenchmarkJoin(b *testing.B) {
	room := hub.New(hub.Options{}).Open("a")
	room.Update("user count", set("10000"))
	b.ReportAllocs()
	for b.Loop() {
		room.Join(hub.Reader{ClientID: "abcdefgh", Chunked: true})
	}
}

// When the sequence begins anew each reader is told so once, also one inside of an
// event and one that has been told while others had not.
func TestReset(t *testing.T) {
	h := hub.New(hub.Options{})
	room := h.Open("a")
	room.Update("user count", set("1"))
	level, inside, behind := join(room, hub.Reader{}), join(room, hub.Reader{}), join(room, hub.Reader{})
	old := h.Emit("a", "n", []byte("1"))
	level.read()
	inside.read()
	h.Emit("a", "n", []byte("2"))
	level.read()
	inside.sub.Pending(&inside.batch)
	inside.take(5)
	h.Reset("anew", 0)
	anew := []string{`io:gap {"missed":null}`, "user count 1"}
	level.want(t, "level", append([]string{"user count 1", "n 1", "n 2"}, anew...)...)
	last := h.Emit("a", "n", []byte("1"))
	anew = append(anew, "n 1")
	level.want(t, "level", append([]string{"user count 1", "n 1", "n 2"}, anew...)...)
	inside.want(t, "inside", append([]string{"user count 1", "n 1", "n 2"}, anew...)...)
	behind.want(t, "behind", append([]string{"user count 1"}, anew...)...)
	join(room, hub.Reader{Cursor: old}).want(t, "back with an old cursor", anew...)
	join(room, hub.Reader{Cursor: last}).want(t, "back with a new cursor", "user count 1")
	for range 2000 {
		h.Emit("a", "n", []byte("x"))
	}
	if got := join(room, hub.Reader{Cursor: last}).events()[0]; got != `io:gap {"missed":1000}` {
		t.Errorf("got %s, want 1000 missed", got)
	}
}
