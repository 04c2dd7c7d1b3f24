package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"headcount/internal/cluster"
	"headcount/test/rig"
)

// A client that joins or leaves on any node changes the count on all nodes.
func TestCountOverNodes(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	a, b := startNode(t, url).ready(t), startNode(t, url).ready(t)
	one := read(t, a.URL, "lobby", "client-0001")
	one.await(t, 1)
	rig.Wait(t, 5*time.Second, "NATS knows of the first", func() bool { return count(b.URL, "lobby") == 1 })
	two := read(t, b.URL, "lobby", "")
	if got := two.seen()[0]; got != 2 {
		t.Errorf("first count on the second node: got %d, want 2", got)
	}
	one.await(t, 2)
	three := read(t, b.URL, "lobby", "client-0003")
	one.await(t, 3)
	two.await(t, 3)
	for _, n := range []*node{a, b} {
		if got := count(n.URL, "lobby"); got != 3 {
			t.Errorf("/count: got %d, want 3", got)
		}
	}
	two.stop()
	one.await(t, 2)
	three.await(t, 2)
	three.strand()
	post(t, a.URL+"/leave", "lobby", "client-0003") // on the node that does not have it
	one.await(t, 1)
	c := startNode(t, url).ready(t)
	if got := count(c.URL, "lobby"); got != 1 {
		t.Errorf("/count on a node that does not have the room open: got %d, want 1", got)
	}
}

// startWatched starts three nodes with a watcher on each.
func startWatched(t *testing.T) (nodes []*node, watchers []*reader) {
	t.Helper()
	url := startNATS(t, 0, t.TempDir()).URL
	for range 3 {
		nodes = append(nodes, startNode(t, url).ready(t))
	}
	for i, n := range nodes {
		watchers = append(watchers, read(t, n.URL, "lobby", fmt.Sprintf("watcher-%d", i)))
	}
	return nodes, watchers
}

// A client that moves from node to node is one user all the time, on every node.
func TestMovesAreInvisible(t *testing.T) {
	nodes, watchers := startWatched(t)
	mover := read(t, nodes[0].URL, "lobby", "client-mover")
	for _, w := range watchers {
		w.await(t, 4)
		w.forget()
	}
	for i := range 20 {
		opens := mover.opens()
		mover.hop(nodes[(i+1)%3].URL)
		rig.Wait(t, 5*time.Second, "mover is back", func() bool { return mover.opens() > opens })
	}
	time.Sleep(300 * time.Millisecond) // what is still on its way would show by now
	for i, w := range watchers {
		for _, got := range w.seen() {
			if got != 4 {
				t.Errorf("watcher %d saw %v, want 4 only", i, w.seen())
				break
			}
		}
	}
	for _, got := range mover.seen()[1:] {
		if got != 4 {
			t.Errorf("the mover saw %v, want 4 only", mover.seen())
			break
		}
	}
}

// An id with streams on two nodes is one user. It stays one when either stream ends.
func TestOneIDTwice(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	a, b := startNode(t, url).ready(t), startNode(t, url).ready(t)
	watcher := read(t, b.URL, "lobby", "client-watch")
	first := read(t, a.URL, "lobby", "client-twice")
	watcher.await(t, 2)
	second := read(t, b.URL, "lobby", "client-twice")
	atRest(t, 2, a, b)
	second.stop()
	atRest(t, 2, a, b)
	first.stop()
	atRest(t, 1, a, b)
}

// A goodbye and a renewal work on any node, even on one where the user has no stream.
func TestLeaveElsewhere(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	linger := func(w *options, _ *cluster.Options) { w.Linger = 20 * time.Second }
	a, b, c := startNode(t, url, linger).ready(t), startNode(t, url, linger).ready(t), startNode(t, url, linger).ready(t)
	for i, n := range []*node{a, b, c} {
		read(t, n.URL, "lobby", fmt.Sprintf("watcher-%d", i))
	}
	post(t, a.URL+"/alive", "lobby", "client-lease")
	atRest(t, 4, a, b, c)
	post(t, b.URL+"/alive", "lobby", "client-lease")
	atRest(t, 4, a, b, c)
	post(t, c.URL+"/leave", "lobby", "client-lease")
	atRest(t, 3, a, b, c)
	read(t, a.URL, "lobby", "client-linger").stop() // it lingers
	atRest(t, 4, a, b, c)
	post(t, c.URL+"/leave", "lobby", "client-linger")
	atRest(t, 3, a, b, c)
}

// atRest waits until all nodes report a count and keep reporting it.
func atRest(t *testing.T, want int, nodes ...*node) {
	t.Helper()
	since := time.Now()
	for end := time.Now().Add(15 * time.Second); time.Since(since) < 500*time.Millisecond; time.Sleep(5 * time.Millisecond) {
		for _, n := range nodes {
			if got := count(n.URL, "lobby"); got != want {
				since = time.Now()
				if time.Now().After(end) {
					t.Fatalf("count of %s: got %d, want %d", n.URL, got, want)
				}
			}
		}
	}
}

// Many users join at once and move on to the next node before the others have heard of them, twice. The count rises
// and never falls on the way.
func TestNewcomersMove(t *testing.T) {
	nodes, watchers := startWatched(t)
	const newcomers = 50
	for i := range newcomers {
		r := &reader{room: "lobby", id: fmt.Sprintf("client-%04d", i)}
		r.run(t, func(ctx context.Context) {
			for hop := range 3 {
				r.node = nodes[(i+hop)%3].URL
				stay, leave := context.WithCancel(ctx)
				if counts := len(r.seen()); hop < 2 {
					go func() {
						defer leave()
						for stay.Err() == nil && len(r.seen()) == counts {
							time.Sleep(time.Millisecond)
						}
					}()
				}
				r.once(stay)
				leave()
			}
		})
	}
	for i, w := range watchers {
		w.await(t, newcomers+3)
		if seen := w.seen(); !slices.IsSorted(seen) {
			t.Errorf("watcher %d saw %v, want no count below one before it", i, seen)
		}
	}
}

// A user with streams on two nodes says goodbye on the third. Every node stops counting the user within 200 ms.
func TestGoodbyeElsewhere(t *testing.T) {
	nodes, watchers := startWatched(t)
	const rounds, within = 20, 200 * time.Millisecond
	var slowest []time.Duration
	for i := range rounds {
		id := fmt.Sprintf("client-%04d", i)
		streams := []*reader{read(t, nodes[0].URL, "lobby", id), read(t, nodes[2].URL, "lobby", id)}
		for _, w := range watchers {
			w.await(t, 4)
		}
		for _, r := range streams {
			r.strand()
		}
		begin := time.Now()
		post(t, nodes[1].URL+"/leave", "lobby", id)
		for _, w := range watchers {
			w.await(t, 3)
		}
		slowest = append(slowest, time.Since(begin))
		for _, r := range streams {
			r.stop()
		}
	}
	slices.Sort(slowest)
	t.Logf("a goodbye on another node is in every count after %v, at most %v", slowest[rounds/2], slowest[rounds-1])
	if slowest[rounds*9/10] > within {
		t.Errorf("goodbyes on another node took up to %v, want nine of ten within %v", slowest[rounds-1], within)
	}
}

// The first count is right for a user of a node that has just started and is still connecting to NATS.
func TestFirstCountOfNewNode(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	one := read(t, startNode(t, url).ready(t).URL, "lobby", "client-0001")
	one.await(t, 1)
	for i := range 5 {
		n := startNode(t, url)
		r := read(t, n.URL, "lobby", "client-later")
		if got := r.seen()[0]; got != 2 {
			t.Errorf("first count on new node %d: got %d, want 2", i, got)
		}
		post(t, n.URL+"/leave", "lobby", "client-later")
		r.stop()
		one.await(t, 1)
		n.stop()
	}
}

// GET /count on a new node waits for the users of the other nodes, also if another request has opened the room a moment
// before.
func TestFirstCountsOfNewNode(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	first := startNode(t, url).ready(t)
	for i := range 3 {
		read(t, first.URL, "lobby", fmt.Sprintf("client-%04d", i))
	}
	for i := range 5 {
		n := startNode(t, url).ready(t)
		var asking sync.WaitGroup
		for range 10 {
			asking.Go(func() {
				for range 5 {
					if got := count(n.URL, "lobby"); got != 3 {
						t.Errorf("new node %d counts %d, want 3", i, got)
					}
				}
			})
		}
		asking.Wait()
		n.stop()
	}
}
