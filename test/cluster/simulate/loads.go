package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"headcount/internal/presence"
)

// churn has users join and leave, and measures when another node knows.
func (w *world) churn(rate int, lasting time.Duration) error {
	idleIn, idleOut := w.idle()
	before, cpu := w.nats.traffic(), w.nats.cpu()
	begin := time.Now()
	joins := 0
	var times []time.Duration
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	type guest struct {
		n      *node
		room   string
		ticket *presence.Ticket
	}
	var here []guest
	var seen sync.Mutex
	var watching sync.WaitGroup
	for time.Since(begin) < lasting {
		<-tick.C
		u := guest{n: w.nodes[rand.IntN(len(w.nodes))], room: w.rooms[rand.IntN(len(w.rooms))]}
		id := w.id()
		if joins%50 == 0 {
			// One of fifty goes to a room of its own, open on two nodes, where its count is seen to change.
			room := fmt.Sprintf("watched %d", joins)
			other := w.nodes[rand.IntN(len(w.nodes))]
			r, q := u.n.hub.Open(room), other.hub.Open(room)
			watching.Go(func() {
				time.Sleep(time.Second) // it is loaded by then
				start := time.Now()
				u.n.table.Open(room, id, nobody{})
				u.n.cluster.Changed(room)
				for {
					if other.count(room) > 0 || time.Since(start) > 10*time.Second {
						break
					}
					time.Sleep(200 * time.Microsecond)
				}
				seen.Lock()
				times = append(times, time.Since(start))
				seen.Unlock()
				u.n.table.Leave(room, id)
				u.n.cluster.Changed(room)
				u.n.hub.Close(r)
				other.hub.Close(q)
			})
		}
		u.ticket = u.n.table.Open(u.room, id, nobody{})
		u.n.cluster.Changed(u.room)
		here = append(here, u)
		joins++
		if len(here) > rate { // each stays for about a second
			gone := here[0]
			here = here[1:]
			gone.n.table.Close(gone.ticket, time.Now())
			gone.n.cluster.Changed(gone.room)
		}
	}
	seconds := time.Since(begin).Seconds()
	for _, u := range here {
		u.n.table.Close(u.ticket, time.Now())
		u.n.cluster.Changed(u.room)
	}
	watching.Wait()
	if err := w.settle(); err != nil {
		return err
	}
	in, out := w.nats.traffic().since(before)
	spent := time.Since(begin).Seconds()
	moves := float64(2 * joins)
	slices.Sort(times)
	fmt.Printf("  %.0f joins and as many leaves a second for %.0f s: %.2f messages to NATS for each, %.1f from NATS; of NATS %.0f %% of one CPU\n",
		float64(joins)/seconds, seconds, (in.msgs-idleIn.msgs*spent)/moves, (out.msgs-idleOut.msgs*spent)/moves, 100*(w.nats.cpu()-cpu).Seconds()/spent)
	fmt.Printf("  from a join to the count of another node: median %v, p99 %v of %d\n", times[len(times)/2], times[len(times)*99/100], len(times))
	fmt.Printf("  all nodes know the sum again: %d\n", w.users)
	return nil
}

// emit has nodes emit into random rooms.
func (w *world) emit(rate int, lasting time.Duration) error {
	idleIn, idleOut := w.idle()
	before, cpu := w.nats.traffic(), w.nats.cpu()
	heardBefore := w.heard()
	begin := time.Now()
	data := append(append([]byte{'"'}, slices.Repeat([]byte("x"), 198)...), '"')
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var running sync.WaitGroup
	var mu sync.Mutex
	var times []time.Duration
	var failed error
	events := 0
	for time.Since(begin) < lasting {
		<-tick.C
		events++
		n, room := w.nodes[rand.IntN(len(w.nodes))], w.rooms[rand.IntN(len(w.rooms))]
		running.Go(func() {
			start := time.Now()
			_, _, err := n.cluster.Emit(context.Background(), room, "news", data, "")
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Since(start))
			if err != nil {
				failed = err
			}
		})
	}
	running.Wait()
	if failed != nil {
		return failed
	}
	seconds := time.Since(begin).Seconds()
	if err := until(30*time.Second, func() bool { return w.heard()-heardBefore == events*len(w.nodes) }); err != nil {
		return fmt.Errorf("%d of %d events arrived: %w", w.heard()-heardBefore, events*len(w.nodes), err)
	}
	time.Sleep(time.Second) // the confirmations
	in, out := w.nats.traffic().since(before)
	spent := time.Since(begin).Seconds()
	slices.Sort(times)
	fmt.Printf("  %.0f events a second for %.0f s, each to %d nodes: %.2f messages to NATS for each, %.1f from NATS; of NATS %.0f %% of one CPU\n",
		float64(events)/seconds, seconds, len(w.nodes), (in.msgs-idleIn.msgs*spent)/float64(events), (out.msgs-idleOut.msgs*spent)/float64(events),
		100*(w.nats.cpu()-cpu).Seconds()/spent)
	fmt.Printf("  bytes for each: %.0f to NATS, %.0f to each node\n", (in.bytes-idleIn.bytes*spent)/float64(events),
		(out.bytes-idleOut.bytes*spent)/float64(events)/float64(len(w.nodes)))
	fmt.Printf("  from an emit to its answer: median %v, p99 %v; every node got all %d\n", times[len(times)/2], times[len(times)*99/100], events)
	return nil
}

// move has users come to another node than the one they were on.
func (w *world) move(rate int, lasting time.Duration) error {
	idleIn, idleOut := w.idle()
	before, cpu := w.nats.traffic(), w.nats.cpu()
	begin := time.Now()
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var running sync.WaitGroup
	count := 0
	for time.Since(begin) < lasting {
		<-tick.C
		u, n := &w.some[rand.IntN(len(w.some))], w.nodes[rand.IntN(len(w.nodes))]
		if n == u.n || time.Since(u.moved) < 2*time.Second {
			continue
		}
		old := u.n
		n.table.Open(u.room, u.id, nobody{})
		n.cluster.Changed(u.room)
		u.n, u.moved = n, time.Now()
		count++
		running.Go(func() { // its grace period
			time.Sleep(time.Second)
			old.table.Leave(u.room, u.id)
			old.cluster.Changed(u.room)
		})
	}
	seconds := time.Since(begin).Seconds()
	running.Wait()
	if err := w.settle(); err != nil {
		return err
	}
	in, out := w.nats.traffic().since(before)
	spent, moves := time.Since(begin).Seconds(), float64(count)
	fmt.Printf("  %.0f users a second for %.0f s come from another node: %.2f messages to NATS for each, %.1f from NATS; of NATS %.0f %% of one CPU\n",
		moves/seconds, seconds, (in.msgs-idleIn.msgs*spent)/moves, (out.msgs-idleOut.msgs*spent)/moves, 100*(w.nats.cpu()-cpu).Seconds()/spent)
	fmt.Printf("  all nodes know the sum again: %d\n", w.users)
	return nil
}

// alive has users say on random nodes that they are there, as they do behind a balancer.
func (w *world) alive(users int, lasting time.Duration) error {
	idleIn, idleOut := w.idle()
	before, cpu := w.nats.traffic(), w.nats.cpu()
	begin := time.Now()
	tick := time.NewTicker(25 * time.Second / time.Duration(users))
	defer tick.Stop()
	var running sync.WaitGroup
	var mu sync.Mutex
	var times []time.Duration
	signs, lost := 0, 0
	for time.Since(begin) < lasting {
		<-tick.C
		signs++
		u, n := w.some[rand.IntN(len(w.some))], w.nodes[rand.IntN(len(w.nodes))]
		if n == u.n {
			continue // nobody else needs to know
		}
		running.Go(func() {
			start := time.Now()
			rest := n.cluster.Renew(context.Background(), u.room, []string{u.id})
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Since(start))
			lost += len(rest)
		})
	}
	running.Wait()
	in, out := w.nats.traffic().since(before)
	spent := time.Since(begin).Seconds()
	slices.Sort(times)
	fmt.Printf("  %.0f signs of life a second for %.0f s: %.2f messages to NATS for each, %.1f from NATS; of NATS %.0f %% of one CPU\n",
		float64(signs)/spent, spent, (in.msgs-idleIn.msgs*spent)/float64(signs), (out.msgs-idleOut.msgs*spent)/float64(signs), 100*(w.nats.cpu()-cpu).Seconds()/spent)
	fmt.Printf("  until the user's node has answered: median %v, p99 %v; %d of %d were not found\n", times[len(times)/2], times[len(times)*99/100], lost, signs)
	return nil
}

// nobody is a reader that does not exist.
type nobody struct{}

func (nobody) Left() {}

func (nobody) Ticket() *presence.Ticket { return new(presence.Ticket) }
