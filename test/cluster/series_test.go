package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Readers of all kinds are in four rooms: streams, proxied streams, streams without an id, and polls that change their
// node each time. Some ids are in two rooms. NATS is killed for 8 s and frozen for 3 s, in turn. 3 s after the end of
// each fault every node shows the right count. While NATS is frozen nobody vanishes from any count. SERIES_ROUNDS is
// the number of rounds of half a minute.
func TestSeries(t *testing.T) {
	rounds := 1
	if text := os.Getenv("SERIES_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	servers, urls := startNATSCluster(t, 1)
	nodes := startNodes(t, 3, urls)
	var all []string
	for _, n := range nodes {
		all = append(all, n.URL)
	}
	users := make(map[string]int)
	next := 0
	add := func(room string, each int) {
		for i := range each {
			next++
			id, at := fmt.Sprintf("client-%06d", next), all[rand.IntN(3)]
			r := &reader{room: room, id: id, nodes: []string{at}, polite: true}
			switch i % 5 {
			case 1:
				r.proxied, r.answers = true, all[rand.IntN(3)]
			case 2:
				r.id = ""
			case 3:
				r.polls, r.nodes = true, all // a balancer that knows nothing
			case 4:
				other := &reader{room: room + " too", id: id, nodes: []string{all[rand.IntN(3)]}, polite: true}
				start(t, other)
				users[other.room]++
			}
			start(t, r)
			users[room]++
		}
	}
	for i := range 4 {
		add(fmt.Sprintf("room %d", i), 40)
	}
	agree := func(within time.Duration, what string) {
		t.Helper()
		begin := time.Now()
		for room, want := range users {
			for _, n := range nodes {
				for count(n.URL, room) != want {
					if time.Since(begin) > within {
						t.Errorf("%s: %s says %d in %q, want %d", what, n.URL, count(n.URL, room), room, want)
						break
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		}
		t.Logf("%s: all agree after %v", what, time.Since(begin).Round(time.Millisecond))
	}
	agree(30*time.Second, "at the beginning")
	for round := range rounds {
		servers[0].kill()
		time.Sleep(8 * time.Second)
		servers[0].start()
		agree(20*time.Second, fmt.Sprintf("round %d, NATS was killed", round)) // it needs a moment to start
		for i := range 4 {
			add(fmt.Sprintf("room %d", i), 5)
		}
		agree(10*time.Second, fmt.Sprintf("round %d, newcomers", round))
		servers[0].cmd.Process.Signal(syscall.SIGSTOP)
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			for room, want := range users {
				for _, n := range nodes {
					if got := count(n.URL, room); got < want {
						t.Errorf("round %d: while NATS is frozen %s says %d in %q, want %d", round, n.URL, got, room, want)
					}
				}
			}
		}
		servers[0].cmd.Process.Signal(syscall.SIGCONT)
		agree(3*time.Second, fmt.Sprintf("round %d, NATS was frozen", round))
	}
}
