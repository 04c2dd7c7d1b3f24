package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"headcount/test/rig"
)

// mover is a user with streams on some of the nodes.
type mover struct {
	id    string
	open  map[int]*reader // by node
	gone  bool            // it has said goodbye
	turns []time.Time     // when it said goodbye, came again, said goodbye, …
}

// there reports whether the user was there all the time between two times, and whether it was there at any time
// between them.
func (m *mover) there(from, to time.Time) (always, ever bool) {
	before := 0
	for _, at := range m.turns {
		if at.Before(from) {
			before++
		} else if at.Before(to) {
			return false, true
		}
	}
	return before%2 == 0, before%2 == 0
}

// Users move between three nodes, open two streams, and say goodbye on any node, and nodes stop. Each watcher on each
// node sees the number of users who are there. Only users who joined or left a moment ago may be missing or included.
// There are 0 wrong numbers. MOVES_SEEDS is the number of series of 250 moves; task moves runs 10.
func TestMoves(t *testing.T) {
	seeds := 1
	if text := os.Getenv("MOVES_SEEDS"); text != "" {
		var err error
		if seeds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { moves(t, seed, (*rig.Server).Restart) })
	}
}

// A node that SIGUSR2 replaces while users move keeps its name, and nobody sees a wrong number.
func TestMovesThroughUpgrades(t *testing.T) {
	moves(t, 1, func(s *rig.Server) { t.Logf("nothing was written for %v", s.Upgrade()) })
}

// moves makes a series of moves, and replaces two nodes in the meantime.
func moves(t *testing.T, seed uint64, replace func(*rig.Server)) {
	const users, steps = 40, 250
	random := rand.New(rand.NewPCG(seed, 0))
	_, urls := startNATSCluster(t, 1)
	nodes := startNodes(t, 3, urls, "-drain", "1s")
	var watchers []*reader
	for i, n := range nodes {
		watchers = append(watchers, start(t, &reader{room: "lobby", id: fmt.Sprintf("watcher-%d", i), nodes: []string{n.URL}}))
	}
	var movers []*mover
	for i := range users {
		movers = append(movers, &mover{id: fmt.Sprintf("client-%04d", i), open: make(map[int]*reader)})
	}
	count := func() (n int) {
		for _, m := range movers {
			if !m.gone {
				n++
			}
		}
		return n + len(watchers)
	}
	turn := func(m *mover) { m.gone, m.turns = !m.gone, append(m.turns, time.Now()) }
	open := func(m *mover, at int) {
		r := start(t, &reader{room: "lobby", id: m.id, nodes: []string{nodes[at].URL}})
		rig.Wait(t, 10*time.Second, "first count of "+m.id, func() bool { return r.count() > 0 })
		m.open[at] = r
	}
	var opening sync.WaitGroup
	for i, m := range movers {
		r := start(t, &reader{room: "lobby", id: m.id, nodes: []string{nodes[i%3].URL}})
		m.open[i%3] = r
		opening.Go(func() { rig.Wait(t, 20*time.Second, "first count", func() bool { return r.count() > 0 }) })
	}
	opening.Wait()
	for _, w := range watchers {
		w.await(t, users+3)
		w.forget()
	}
	for step := range steps {
		m := movers[random.IntN(users)]
		var at []int
		for i := range m.open {
			at = append(at, i)
		}
		slices.Sort(at)
		to := random.IntN(3)
		switch kind := random.IntN(20); {
		case m.gone:
			turn(m)
			open(m, to)
		case kind < 2 && count() > 20: // goodbye, on any node
			turn(m)
			for _, r := range m.open {
				r.strand()
			}
			post(t, nodes[to].URL+"/leave", "lobby", m.id)
			for _, r := range m.open {
				r.stop()
			}
			clear(m.open)
		case kind < 6 && m.open[to] == nil: // a second stream
			open(m, to)
		case kind < 10 && len(at) > 1: // which ends
			m.open[at[0]].stop()
			delete(m.open, at[0])
		case m.open[to] == nil: // it moves, before or after its stream ends
			if random.IntN(2) == 0 {
				open(m, to)
				m.open[at[0]].stop()
			} else {
				m.open[at[0]].stop()
				open(m, to)
			}
			delete(m.open, at[0])
		}
		if step == 100 || step == 180 { // if a node is restarted, its users come back to it, or have another stream
			replace(nodes[step%3])
		}
		time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
	}
	time.Sleep(5 * time.Second)
	for i, w := range watchers {
		w.follow(t, fmt.Sprintf("seed %d, watcher %d", seed, i), movers, len(watchers))
	}
	for _, n := range nodes {
		if got := count(); !settled(n.URL, got) {
			t.Errorf("seed %d: %s counts otherwise at rest than %d", seed, n.URL, got)
		}
	}
}

func settled(node string, users int) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if count(node, "lobby") == users {
			return true
		}
	}
	return false
}

// follow fails the test unless every count that the reader saw was right at that time. Users who joined or left within
// the last 700 ms may be counted or not.
func (r *reader) follow(t *testing.T, name string, movers []*mover, others int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	wrong := 0
	for i, got := range r.counts[1:] {
		shown := r.shown[i+1]
		least, most := others, others
		for _, m := range movers {
			always, ever := m.there(shown.Add(-700*time.Millisecond), shown)
			if always {
				least++
			}
			if ever {
				most++
			}
		}
		if got < least || got > most {
			wrong++
			t.Errorf("%s: got %d at %s, want %d to %d", name, got, shown.Format(clock), least, most)
		}
	}
	t.Logf("%s: %d counts, %d wrong", name, len(r.counts)-1, wrong)
}
