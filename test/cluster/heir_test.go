package cluster

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"headcount/test/rig"
)

// A node that stops hands the users that it still counts over to the node with the most users that takes them, passes on
// what comes for them meanwhile, and says in its last word who has them. Its last sign of life comes behind that: who was
// not handed over counts for a whole while.
func TestLastWord(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	n := startNode(t, url).ready(t)
	stopped, shut, refuses, takes, few, back := play(t, url, "actoraaa"), play(t, url, "actorbbb"), play(t, url, "actorccc"), play(t, url, "actorddd"), play(t, url, "actoreee"), play(t, url, "actorfff")
	back.says("1", entry{Users: 50})
	back.rename("actorfff-1") // under which it has said nothing yet
	stopped.says("1", entry{Users: 40, Heir: "actorzzz"})
	shut.says("1", entry{Users: 30, Closed: true})
	refuses.says("1", entry{Users: 20})
	theirs := takes.says("1", entry{Users: 10})
	few.says("1", entry{Users: 1})
	read(t, n.URL, "lobby", "client-lingers").strand()
	post(t, n.URL+"/alive", "lobby", "client-lease")
	mine := takes.awaitSaid(n, "two users", func(e entry) bool { return e.Users == 2 })
	rig.Wait(t, 5*time.Second, "everybody's count", func() bool { return n.engine.Users().Count("lobby") == 2 && count(n.URL, "lobby") == 40+20+10+1+2 })

	var order []string // of what comes from the node that stops
	if _, err := takes.nc.Subscribe("$KV.>", func(m *nats.Msg) {
		if strings.Contains(m.Subject, n.cluster.Tag()) {
			takes.mu.Lock()
			order = append(order, string(m.Data))
			takes.mu.Unlock()
		}
	}); err != nil {
		t.Fatal(err)
	}
	takes.nc.Flush()
	refuses.reply(func(ask) *answer { return &answer{} })
	claimed, err := takes.nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	takes.reply(func(q ask) *answer {
		if q.Will == nil {
			return nil
		}
		// While they are handed over one says goodbye, and another arrives somewhere.
		takes.nc.Publish("headcount.live."+roomToken("lobby"), encode(shout{Leave: []string{"client-lease"}}))
		takes.nc.PublishRequest("headcount.node."+n.cluster.Tag(), claimed.Subject, encode(ask{
			To: n.cluster.Name(), Room: "lobby", Claim: "client-lingers", By: theirs.ID, Nonce: "nonce-1",
		}))
		return &answer{Entry: theirs.ID, Users: len(q.Will)}
	})
	n.stop()
	last := takes.awaitSaid(n, "the last word", func(e entry) bool { return e.Heir != "" })
	if last.ID != mine.ID || last.Heir != takes.tag || last.Users != 0 || last.Out[theirs.ID] != 2 {
		t.Errorf("last word: got %+v, want that %s has both", last, takes.tag)
	}
	var got answer
	if m, err := claimed.NextMsg(5 * time.Second); err != nil || json.Unmarshal(m.Data, &got) != nil || got.Had || got.Heir != takes.tag {
		t.Errorf("claim meanwhile: got %+v %v, want heir %s", got, err, takes.tag)
	}
	rig.Wait(t, 5*time.Second, "the goodbye is passed on", func() bool {
		takes.mu.Lock()
		defer takes.mu.Unlock()
		return slices.Contains(takes.leaves, "client-lease")
	})
	rig.Wait(t, 5*time.Second, "a sign of life behind the last word", func() bool {
		takes.mu.Lock()
		defer takes.mu.Unlock()
		return len(order) > 1 && strings.Contains(order[len(order)-2], `"heir"`) && !strings.Contains(order[len(order)-1], `"id"`)
	})
	for _, row := range []struct {
		of    *actor
		wills int
	}{{stopped, 0}, {shut, 0}, {refuses, 1}, {takes, 1}, {few, 0}, {back, 0}} {
		row.of.mu.Lock()
		wills := 0
		for _, q := range row.of.asks {
			if q.Will == nil {
				continue
			}
			wills++
			if len(q.Will) != 2 || q.By != mine.ID || q.Will["client-lingers"] < 4 || q.Will["client-lease"] < 40 {
				t.Errorf("will: got %+v, want both users, until they may be taken for dead and until the lease ends", q)
			}
		}
		row.of.mu.Unlock()
		if wills != row.wills {
			t.Errorf("%s was asked %d times to take users over, want %d", row.of.tag, wills, row.wills)
		}
	}
}

// A node takes the users of one that stops over, each once: whom it counts already, it counts already; whom it had yielded,
// it counts again; of the others it knows until when they are to be counted.
func TestInherits(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	n := startNode(t, url).ready(t)
	other := play(t, url, "actoraaa")
	watcher := read(t, n.URL, "lobby", "client-watch")
	read(t, n.URL, "lobby", "client-both")
	other.says("1", entry{Users: 3, Joined: []string{"client-both"}})
	watcher.await(t, 4)
	mine := other.awaitSaid(n, "one user", func(e entry) bool { return e.Users == 1 })
	watcher.forget()
	got, _ := other.ask(n, ask{By: "actoraaa-0-1", Will: map[string]float64{"client-watch": 20, "client-both": 20, "client-lease": 0.7}})
	if want := (answer{Entry: mine.ID, Users: 2}); !same(got, want) {
		t.Errorf("got %+v, want %+v: one was counted here already", got, want)
	}
	e := other.awaitSaid(n, "three users", func(e entry) bool { return e.Users == 3 })
	if want := map[string]int{"actoraaa-0-1": 2}; !maps.Equal(e.In, want) {
		t.Errorf("got users from %v, want %v", e.In, want)
	}
	other.says("1", entry{Heir: n.cluster.Tag(), Out: map[string]int{mine.ID: 2}})
	watcher.await(t, 2) // the lease has run out
	if got := watcher.seen(); !slices.Equal(got, []int{4, 3, 2}) {
		t.Errorf("counts: got %v, want 4, then 3 since one was counted on both nodes, then 2", got)
	}
}

// Nobody hands users over to a node that does not know yet whom it counts itself.
func TestInheritsNothing(t *testing.T) {
	n, other := startBeside(t, startNATS(t, 0, t.TempDir()).URL, "actoraaa")
	got := make(chan answer, 1)
	other.mu.Lock()
	other.rolled = func(shout) *answer { // it comes back from the dead
		a, ok := other.ask(n, ask{By: "actoraaa-0-1", Will: map[string]float64{"client-lease": 20}})
		if !ok {
			a.Entry = "no answer"
		}
		got <- a
		return nil
	}
	other.mu.Unlock()
	other.nc.Publish("headcount.node."+n.cluster.Tag(), encode(ask{Dead: n.cluster.Name()}))
	if a := receive(t, "the answer while it comes back", got); !same(a, answer{}) || n.engine.Users().Has("lobby", "client-lease") {
		t.Errorf("got %+v, want that nobody is taken over", a)
	}
}

// A reader arrives whose node stops, or has stopped: whoever has it now is asked, and it is counted once.
func TestArrivesFromStopped(t *testing.T) {
	t.Parallel()
	const moves = "client-moves"
	for _, row := range []struct {
		name  string
		word  entry // the last word of its node, with the heir "here" or "actorbbb"
		when  string
		said  *answer // by its node
		heir  *answer
		want  map[string]int // how many came from which entry
		first int            // how often its node is asked at least, -1 for never
	}{
		{"its node has stopped, and the heir has it", entry{Heir: "actorbbb"}, "before", nil, &answer{Had: true, Entry: "actorbbb-0-1"}, map[string]int{"actorbbb-0-1": 1}, -1},
		{"its node stops while it is asked", entry{Heir: "actorbbb"}, "while", nil, &answer{Had: true, Entry: "actorbbb-0-1"}, map[string]int{"actorbbb-0-1": 1}, 1},
		{"its node says who the heir is", entry{Users: 1}, "before", &answer{Heir: "actorbbb"}, &answer{Had: true, Entry: "actorbbb-0-1"}, map[string]int{"actorbbb-0-1": 1}, 1},
		{"its node stops after it did not answer", entry{Heir: "actorbbb"}, "after", nil, &answer{Had: true, Entry: "actorbbb-0-1"}, map[string]int{"actorbbb-0-1": 1}, 1},
		{"not everybody was handed over", entry{Users: 1, Heir: "actorbbb"}, "before", nil, &answer{}, map[string]int{"actoraaa-0-1": 1}, -1},
		{"this node is the heir", entry{Users: 1, Heir: "here"}, "while", nil, nil, map[string]int{"actoraaa-0-1": 1}, 1},
		{"this node is the heir, and has not been told yet", entry{}, "never", nil, nil, map[string]int{"actoraaa-0-1": 1}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			url := startNATS(t, 0, t.TempDir()).URL
			n := startNode(t, url).ready(t)
			first, heir := play(t, url, "actoraaa"), play(t, url, "actorbbb")
			read(t, n.URL, "lobby", "client-watch")
			if row.word.Heir == "here" {
				row.word.Heir = n.cluster.Tag()
			}
			first.says("1", entry{Users: 1})
			heir.says("1", entry{Users: 1})
			if row.when == "before" {
				first.says("1", row.word)
			}
			rig.Wait(t, 5*time.Second, "both nodes' counts", func() bool {
				return row.when == "before" && row.word.Users == 0 && count(n.URL, "lobby") == 2 || count(n.URL, "lobby") == 3
			})
			heir.reply(func(ask) *answer { return row.heir })
			first.reply(func(q ask) *answer {
				if q.Claim == "" || row.heir != nil && row.when != "while" {
					return row.said
				}
				if row.heir == nil {
					first.ask(n, ask{By: "actoraaa-0-1", Will: map[string]float64{moves: 20}})
				}
				if row.when == "while" {
					first.says("1", row.word)
				}
				return nil
			})
			cursor := first.cursor(mustEmit(t, n.URL, "lobby", "n", "1").ID)
			r := newReaderFrom(t, []string{n.URL}, "lobby", moves, cursor)
			rig.Wait(t, 5*time.Second, "first count", func() bool { return r.count() > 0 })
			if row.when == "after" {
				first.says("1", row.word)
			}
			got := first.awaitSaid(n, "it is counted here", func(e entry) bool { return e.Users == 2 && (row.when != "after" || e.In["actorbbb-0-1"] > 0) })
			if !maps.Equal(got.In, row.want) {
				t.Errorf("got users from %v, want %v", got.In, row.want)
			}
			if asks := len(first.asksFor(moves)); asks < row.first || row.first < 0 && asks > 0 {
				t.Errorf("its node was asked %d times, want at least %d, -1 = never", asks, row.first)
			}
		})
	}
}

// A node is taken for dead, and comes back, while it waits for the answer to a claim: what it was given belongs to what it
// counted under its name before.
func TestDeadWhileItClaims(t *testing.T) {
	n, other := startBeside(t, startNATS(t, 0, t.TempDir()).URL, "actoraaa")
	name := n.cluster.Name()
	other.reply(func(q ask) *answer {
		if q.Claim == "" {
			return nil
		}
		other.nc.Publish("headcount.node."+n.cluster.Tag(), encode(ask{Dead: name}))
		for end := time.Now().Add(200 * time.Millisecond); n.cluster.Name() == name && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		return &answer{Had: true, Entry: "actoraaa-0-1"}
	})
	newReaderFrom(t, []string{n.URL}, "lobby", "client-moves", other.cursor(mustEmit(t, n.URL, "lobby", "n", "1").ID))
	got := other.awaitSaid(n, "it counts both under a new name", func(e entry) bool { return e.Users == 2 && !strings.HasPrefix(e.ID, name+"-") })
	if len(got.In) > 0 {
		t.Errorf("got users from %v, want none: the claim was another entry's", got.In)
	}
}
