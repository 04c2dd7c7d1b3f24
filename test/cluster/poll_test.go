package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"headcount/test/rig"
)

// poller is a reader that polls the next node each time, like a client behind a load balancer without sticky sessions.
func poller(t *testing.T, nodes []string, room, id string) *reader {
	t.Helper()
	r := &reader{room: room, id: id, polls: true}
	r.run(t, func(ctx context.Context) {
		for i := 0; ctx.Err() == nil; i++ {
			r.node = nodes[i%len(nodes)]
			r.once(ctx)
		}
	})
	return r
}

// Polls that reach another node each time bring every event once and in order. They are one user all the time, with a
// client id and without.
func TestPollsOverNodes(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, watchers := startWatched(t)
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.URL)
	}
	for _, w := range watchers {
		w.await(t, 3)
	}
	pollers := []*reader{poller(t, urls, "lobby", "client-polls"), poller(t, urls, "lobby", "")}
	for _, w := range watchers {
		w.await(t, 5)
	}
	for _, p := range pollers {
		p.await(t, 5)
	}
	var want []string
	for i := range 60 {
		mustEmit(t, nodes[i%2].URL, "lobby", "n", fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
		if i%3 == 0 { // else several come with one poll
			rig.Wait(t, 10*time.Second, "the event", func() bool {
				return len(pollers[0].data()) > i && len(pollers[1].data()) > i
			})
		}
	}
	for _, p := range pollers {
		rig.Wait(t, 10*time.Second, "all events", func() bool { return len(p.data()) >= len(want) })
		if got := p.data(); !slices.Equal(got, want) {
			t.Errorf("poller %q: got %v, want each event once", p.id, got)
		}
		if p.opens() < 20 {
			t.Errorf("poller %q: got %d answers, want at least one for three events", p.id, p.opens())
		}
	}
	for i, w := range watchers {
		if seen := w.seen(); !slices.IsSorted(seen) || seen[len(seen)-1] != 5 {
			t.Errorf("watcher %d saw %v, want 5 in the end and no count below one before it", i, seen)
		}
	}
	for _, p := range pollers {
		for _, got := range p.seen() { // the next node may not have heard of the other one yet
			if got != 5 && got != 4 {
				t.Errorf("poller %q saw %v, want 4 and 5 only", p.id, p.seen())
				break
			}
		}
	}
	atRest(t, 5, nodes...)
	late := read(t, urls[1], "lobby", "client-late") // its count comes to polls, too
	for _, p := range pollers {
		p.await(t, 6)
	}
	late.stop()
	for _, p := range pollers {
		p.stop()
	}
	for _, w := range watchers {
		w.await(t, 3)
	}
}

// A stream behind a proxy counts while its client answers, on whichever node. A stream whose client never answers ends
// after 5 s, because a proxy may hold it back. ALIVE_TIME is how long the test watches; 2 min cover more than one
// lease.
func TestAliveElsewhere(t *testing.T) {
	t.Parallel() // it mostly waits
	lasting := 7 * time.Second
	if text := os.Getenv("ALIVE_TIME"); text != "" {
		var err error
		if lasting, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	url := startNATS(t, 0, t.TempDir()).URL
	a, b, c := startNode(t, url).ready(t), startNode(t, url).ready(t), startNode(t, url).ready(t)
	watcher := read(t, c.URL, "lobby", "client-watch")
	answered := start(t, &reader{room: "lobby", id: "client-alive", nodes: []string{a.URL}, proxied: true, polite: true, answers: b.URL})
	mute := start(t, &reader{room: "lobby", id: "client-mute", nodes: []string{a.URL}, proxied: true})
	watcher.await(t, 3)
	watcher.forget()
	time.Sleep(lasting)
	if got := answered.opens(); got != 1 {
		t.Errorf("who answered another node: got %d streams in %v, want one", got, lasting)
	}
	if got := mute.opens(); got < 2 {
		t.Errorf("who did not answer: got %d streams in %v, want another one after 5 s", got, lasting)
	}
	mute.stop()
	post(t, b.URL+"/leave", "lobby", "client-mute") // it was told to come back, and is waited for
	watcher.await(t, 2)
	atRest(t, 2, a, b, c)
	for _, got := range watcher.seen() {
		if got != 3 && got != 2 {
			t.Errorf("the watcher saw %v, want 3 and then 2", watcher.seen())
			break
		}
	}
	answered.stop()
	post(t, b.URL+"/leave", "lobby", "client-alive")
	watcher.await(t, 1)
}
