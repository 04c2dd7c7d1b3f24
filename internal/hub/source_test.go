package hub_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/hub"
)

// source records which rooms it should watch.
type source struct{ calls []string }

func (s *source) Watch(r *hub.Room)   { s.calls = append(s.calls, "watch "+r.Name()) }
func (s *source) Unwatch(r *hub.Room) { s.calls = append(s.calls, "unwatch "+r.Name()) }

// shared returns a hub of a log that has reached tip.
func shared(s *source, tip uint64) *hub.Hub {
	h := hub.New(hub.Options{Source: s, Node: "here", History: 4})
	h.Reset("epoch", tip)
	return h
}

func event(seq uint64, name string) hub.Event {
	return hub.Event{Seq: seq, Time: time.Now(), Name: name, Data: []byte("1")}
}

func cursor(seq uint64) hub.JoinOptions {
	return hub.JoinOptions{Cursor: hub.Cursor{Epoch: "epoch", Seq: seq, Node: "0"}.String()}
}

func TestSourceHistory(t *testing.T) {
	h := shared(&source{}, 100)
	r := h.Open("lobby")
	early := join(r, hub.JoinOptions{})
	r.Load(20, 100, []hub.Event{event(30, "a"), event(60, "b"), event(90, "c")})
	for _, row := range []struct {
		name string
		who  hub.JoinOptions
		want []string
	}{
		{"newcomer", hub.JoinOptions{}, nil},
		{"at an event", cursor(60), []string{"c 1"}},
		{"between two", cursor(61), []string{"c 1"}},
		{"at the end", cursor(90), nil},
		{"behind all", cursor(100), nil},
		{"ahead of this node", cursor(105), []string{`io:gap {"missed":null}`, "a 1", "b 1", "c 1"}},
		{"where the history begins", cursor(20), []string{"a 1", "b 1", "c 1"}},
		{"before the history", cursor(19), []string{`io:gap {"missed":null}`, "a 1", "b 1", "c 1"}},
	} {
		join(r, row.who).want(t, row.name, row.want...)
	}
	early.want(t, "joined before the history came")

	h.Advance(110)
	ahead := join(r, cursor(105))
	ahead.want(t, "ahead of what the node has heard, not of the log")
	r.Deliver(104, event(104, "d"))
	ahead.want(t, "what it has got elsewhere")
	r.Deliver(107, event(104, "d"), event(107, "e"), event(107, "e"))
	ahead.want(t, "what follows", "e 1")
	early.want(t, "all since it joined, once", "d 1", "e 1")
	// The history keeps four.
	join(r, cursor(59)).want(t, "behind what is not", "b 1", "c 1", "d 1", "e 1")
	join(r, cursor(29)).want(t, "before what is kept", `io:gap {"missed":null}`, "b 1", "c 1", "d 1", "e 1")
}

// The ids that a subscriber gets here do not set it back if it is ahead of this node. The hub accepts its cursor if it
// expects the source to be that far.
func TestSourceAhead(t *testing.T) {
	h := shared(&source{}, 100)
	r := h.Open("lobby")
	r.Load(0, 100, []hub.Event{event(50, "a")})
	join(r, cursor(105)).want(t, "not believed", `io:gap {"missed":null}`, "a 1")
	r.Expect(105)
	c := join(r, cursor(105))
	r.Update("user count", func() []byte { return []byte("7") })
	c.want(t, "the count alone", "user count 7")
	for _, b := range c.blocks() {
		if c, ok := hub.ParseCursor(b.ID); b.ID != "" && (!ok || c.Seq != 105) {
			t.Errorf("id of %s: got %s, want one at 105", b.Name, b.ID)
		}
	}
	r.Deliver(107, event(103, "b"), event(107, "c"))
	c.want(t, "what follows", "user count 7", "c 1")
	h.Reset("epoch", 107)
	r.Load(0, 107, []hub.Event{event(107, "c")})
	join(r, cursor(108)).want(t, "no longer believed", `io:gap {"missed":null}`, "user count 7", "c 1")
}

// In a quiet room the cursors advance with the log. Otherwise they would become older than the log.
func TestSourceQuiet(t *testing.T) {
	h := shared(&source{}, 100)
	r := h.Open("lobby")
	r.Load(100, 100, nil)
	c := join(r, hub.JoinOptions{ClientID: "client-0001"})
	c.read()
	r.Deliver(900)
	c.sub.Heartbeat(&c.batch)
	c.take(c.batch.Len())
	blocks := c.blocks()
	if c, ok := hub.ParseCursor(blocks[len(blocks)-1].ID); !ok || c.Seq != 900 || c.Node != "here" {
		t.Errorf("cursor of a ping: got %s, want 900 on here", blocks[len(blocks)-1].ID)
	}
}

func TestSourceLoses(t *testing.T) {
	h := shared(&source{}, 100)
	r := h.Open("lobby")
	r.Load(0, 100, []hub.Event{event(50, "a")})
	c := join(r, cursor(10))
	c.want(t, "history", "a 1")
	r.Lose(200)
	r.Deliver(300, event(250, "b"))
	c.want(t, "what was lost and what came then", "a 1", `io:gap {"missed":null}`, "b 1")
	join(r, cursor(50)).want(t, "a cursor from before", `io:gap {"missed":null}`, "b 1")
}

// History that is older than the maximum age is not loaded.
func TestSourceAge(t *testing.T) {
	h := shared(&source{}, 100)
	r := h.Open("lobby")
	old := event(50, "old")
	old.Time = time.Now().Add(-time.Hour)
	r.Load(0, 100, []hub.Event{old, event(60, "young")})
	join(r, cursor(50)).want(t, "behind the old one", "young 1")
	join(r, cursor(40)).want(t, "before the old one", `io:gap {"missed":null}`, "young 1")
}

// A room of a source is dropped with its history when it has not been open for a while.
func TestSourceWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		h := shared(s, 100)
		r := h.Open("a")
		r.Load(0, 100, []hub.Event{event(50, "x")})
		h.Open("a")
		h.Open("b")
		h.Close(r)
		time.Sleep(2 * time.Minute)
		h.Trim(time.Now())
		h.Close(r)
		h.Trim(time.Now())
		time.Sleep(2 * time.Minute)
		h.Trim(time.Now())
		h.Open("a")
		want := []string{"watch a", "watch b", "unwatch a", "watch a"}
		if !slices.Equal(s.calls, want) {
			t.Errorf("got %s, want %s", strings.Join(s.calls, ", "), strings.Join(want, ", "))
		}
		if events, bytes := h.History(); events != 0 || bytes != 0 {
			t.Errorf("history of a dropped room: got %d events, %d bytes, want none", events, bytes)
		}
	})
}

// A client that joins with a cursor before the history is loaded gets the states at once. It gets no gap unless it has
// missed something. The hub knows that when the history arrives.
func TestSourceNotLoaded(t *testing.T) {
	count := func(n string) func() []byte { return func() []byte { return []byte(n) } }
	for _, row := range []struct {
		name   string
		cursor string
		want   []string
	}{
		{"good", "epoch.60.other.7", []string{"c 1"}},
		{"at the end", "epoch.90.other.7", nil},
		{"too old", "epoch.10.other.7", []string{`io:gap {"missed":null}`, "user count 2", "a 1", "b 1", "c 1"}},
		{"of another epoch", "other.60.other.7", []string{`io:gap {"missed":null}`, "user count 2", "a 1", "b 1", "c 1"}},
		{"of the future", "epoch.200.here.1", []string{`io:gap {"missed":null}`, "user count 2", "a 1", "b 1", "c 1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := hub.New(hub.Options{Source: &source{}, Node: "here", History: 4}) // with its own epoch at first
				r := h.Open("lobby")
				r.Update("user count", count("1"))
				time.Sleep(time.Second)
				c := join(r, hub.JoinOptions{Cursor: row.cursor})
				other := join(r, hub.JoinOptions{Cursor: "epoch.30.other.7"})
				if c.sub.Position() == other.sub.Position() {
					t.Error("two readers with different cursors are at the same position")
				}
				c.want(t, "first", "user count 1")
				r.Update("user count", count("2"))
				time.Sleep(time.Second)
				c.want(t, "then", "user count 1", "user count 2")
				if got, want := c.sub.Cursor(), strings.Join(strings.Split(row.cursor, ".")[:2], ".")+".here."; !strings.HasPrefix(got, want) {
					t.Errorf("cursor: got %s, want %s…: it would come back with it", got, want)
				}
				h.Reset("epoch", 100)
				r.Load(20, 100, []hub.Event{event(30, "a"), event(60, "b"), event(90, "c")})
				r.Deliver(107, event(107, "d"))
				c.want(t, "at last", slices.Concat([]string{"user count 1", "user count 2"}, row.want, []string{"d 1"})...)
				if got, want := c.sub.Cursor(), "epoch.107.here.2"; got != want {
					t.Errorf("cursor: got %s, want %s", got, want)
				}
			})
		})
	}
}

// A poll of a room that is not loaded is answered with the states, and not again until they change.
func TestSourceNotLoadedPoll(t *testing.T) {
	h := hub.New(hub.Options{Source: &source{}, Node: "here"})
	r := h.Open("lobby")
	r.Update("user count", func() []byte { return []byte("1") })
	s, opening, news := r.Poll(hub.JoinOptions{Cursor: "epoch.60.other.7"})
	if !news || !strings.Contains(string(opening), "user count") || strings.Contains(string(opening), "io:gap") {
		t.Errorf("first poll: got %q, news %v, want the count and no gap", opening, news)
	}
	if s, opening, news = r.Poll(hub.JoinOptions{Cursor: s.Cursor()}); news {
		t.Errorf("second poll: got %q, want nothing new", opening)
	}
	h.Reset("epoch", 100)
	r.Load(20, 100, []hub.Event{event(60, "b"), event(90, "c")})
	var b hub.Batch
	if !s.Pending(&b) || !strings.Contains(string(slices.Concat(b.Bytes...)), "event: c") {
		t.Errorf("when it is loaded: got %q, want event c", b.Bytes)
	}
}
