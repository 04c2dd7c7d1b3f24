package hub_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/hub"
)

// A new subscriber gets the newest value, even one that is not published yet. It does not get that value again when it
// is published.
func TestNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{})
		room := h.Open("a")
		old := join(room, hub.JoinOptions{})
		room.Update("user count", set("1"))
		room.Update("user count", set("2")) // delayed by the throttling
		old.want(t, "the others meanwhile", "user count 1")
		newcomer := join(room, hub.JoinOptions{})
		newcomer.want(t, "the newcomer", "user count 2")
		time.Sleep(time.Second)
		old.want(t, "the others later", "user count 1", "user count 2")
		newcomer.want(t, "the newcomer later", "user count 2")
		room.Update("user count", set("3"))
		newcomer.want(t, "the newcomer at the next change", "user count 2", "user count 3")
	})
}

// States and events have one order, no matter when a subscriber reads.
func TestOneOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{})
		room := h.Open("a")
		early, late := join(room, hub.JoinOptions{}), join(room, hub.JoinOptions{})
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

// A subscriber that the history has overtaken gets the exact number of events it missed, then the states, then what is
// kept. A subscriber in the middle of an event gets the rest of that event first.
func TestOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{History: 3})
		room := h.Open("a")
		room.Update("user count", set("1"))
		slow, inside := join(room, hub.JoinOptions{}), join(room, hub.JoinOptions{Chunked: true})
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
		// A client can resume at the gap.
		for _, b := range slow.blocks() {
			if b.Name == "io:gap" {
				back := join(room, hub.JoinOptions{Cursor: b.ID})
				back.want(t, "back at the gap", "user count 2", "n 8", "n 9", "n 10")
			}
		}
		wantGaps(t, h, 2)
	})
}

// A gap counts once, and only when the subscriber gets it. A retry after a full socket does not count again.
func TestGaps(t *testing.T) {
	h := hub.New(hub.Options{History: 1})
	c := join(h.Open("a"), hub.JoinOptions{})
	c.read()
	for range 3 {
		h.Emit("a", "n", []byte("1"))
	}
	for _, n := range []int{0, 0, 5, 5} {
		c.sub.Pending(&c.batch)
		c.take(n)
	}
	c.read()
	c.want(t, "overtaken", `io:gap {"missed":2}`, "n 1")
	wantGaps(t, h, 1)
	join(h.Open("a"), hub.JoinOptions{Cursor: "of another world"})
	wantGaps(t, h, 2)
	join(h.Open("a"), hub.JoinOptions{})
	wantGaps(t, h, 2)
}

func wantGaps(t *testing.T, h *hub.Hub, want uint64) {
	t.Helper()
	if got := h.Gaps(); got != want {
		t.Errorf("got %d gaps, want %d", got, want)
	}
}

// A farewell that could not be sent at all goes out later, and nothing follows it.
func TestFarewellWaits(t *testing.T) {
	h := hub.New(hub.Options{})
	c := join(h.Open("a"), hub.JoinOptions{Chunked: true})
	c.read()
	c.sub.Farewell(&c.batch, 2*time.Second)
	c.take(0)
	h.Emit("a", "n", []byte("1"))
	c.want(t, "after the farewell")
	if _, ended := c.stream(); !ended || !strings.HasSuffix(string(c.log), "retry: 2000\n\r\n0\r\n\r\n") {
		t.Errorf("got %q, want a farewell and the last chunk", c.log)
	}
}

// Attach wakes once for each piece of news, no matter how often it was attached, until it is detached as often. News
// closes Changed. News in other rooms wakes nothing.
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
	for n := range 1000 {
		h.Emit(fmt.Sprint("other", n), "n", []byte("1"))
	}
	h.Emit("a", "n", []byte("2"))
	room.Detach("key")
	h.Emit("a", "n", []byte("3"))
	if woken != 2 {
		t.Errorf("woken %d times, want 2", woken)
	}
}

// Everything runs at once from many goroutines, for the race detector. A subscriber that reads to the end misses
// nothing.
func TestConcurrently(t *testing.T) {
	h := hub.New(hub.Options{History: 100_000})
	room := h.Open("a")
	var writers, readers sync.WaitGroup
	const emitters, each = 4, 500
	done := make(chan struct{})
	for range 4 {
		c := join(room, hub.JoinOptions{Chunked: true})
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

// A delivery allocates nothing, and finding out what is pending allocates nothing.
func TestPendingAllocatesNothing(t *testing.T) {
	h := hub.New(hub.Options{History: 10})
	room := h.Open("a")
	sub := room.Join(hub.JoinOptions{Chunked: true})
	var batch hub.Batch
	read := func() {
		for sub.Pending(&batch) {
			sub.Advance(&batch, batch.Len())
		}
	}
	read()
	const events = 10 // per run; other allocations of the process are fewer
	run := func(each func()) func() {
		return func() {
			for range events {
				h.Emit("a", "n", []byte("1"))
				each()
			}
		}
	}
	got := testing.AllocsPerRun(100, run(func() {}))
	if with := testing.AllocsPerRun(100, run(read)); with >= got+events {
		t.Errorf("reading %d events takes %v allocations, want none", events, with-got)
	}
}

func BenchmarkPending(b *testing.B) {
	h := hub.New(hub.Options{})
	room := h.Open("a")
	sub := room.Join(hub.JoinOptions{Chunked: true})
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
		room.Join(hub.JoinOptions{ClientID: "abcdefgh", Chunked: true})
	}
}
