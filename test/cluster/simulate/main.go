// Command simulate runs many nodes with many users that do not exist: the cluster code and NATS are real, the readers
// are entries of a table. It prints what it measured. Run it in the module test: go run ./cluster/simulate
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	count := flag.Int("nodes", 50, "how many nodes")
	users := flag.Int("users", 1_000_000, "how many users, over all nodes and rooms")
	rooms := flag.Int("rooms", 100, "how many rooms; each is open on every node")
	churn := flag.Int("churn", 200, "joins a second, and as many leaves")
	emits := flag.Int("emits", 100, "events a second, of 200 bytes")
	proxied := flag.Int("proxied", 10_000, "how many users are behind a balancer, and so have a sign of life every 25 s on any node")
	lasting := flag.Duration("time", 20*time.Second, "how long each load lasts")
	flag.Parse()

	nats, err := startNATS(ctx)
	if err != nil {
		return err
	}
	defer nats.stop()
	var nodes []*node
	way, err := newRelay(nats.url) // of the node that will be killed
	if err != nil {
		return err
	}
	for i := range *count {
		url := nats.url
		if i == 0 {
			url = way.url()
		}
		n, err := newNode(url)
		if err != nil {
			return err
		}
		nodes = append(nodes, n)
		defer n.stop()
	}
	w := &world{nats: nats, nodes: nodes, way: way}
	for i := range *rooms {
		w.rooms = append(w.rooms, fmt.Sprintf("room %d", i))
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"start", w.start},
		{"fill", func() error { return w.fill(*users) }},
		{"rest", func() error { return w.rest(*lasting) }},
		{"churn", func() error { return w.churn(*churn, *lasting) }},
		{"emit", func() error { return w.emit(*emits, *lasting) }},
		{"moves", func() error { return w.move(*churn, *lasting) }},
		{"signs of life", func() error { return w.alive(*proxied, *lasting) }},
		{"kill a node", w.kill},
		{"freeze NATS", func() error { return w.freeze(6 * time.Second) }},
	} {
		fmt.Printf("%s\n", step.name)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// world is all nodes and what is true of them.
type world struct {
	nats  *natsProcess
	nodes []*node
	way   *relay // of the first one to NATS
	rooms []string
	users int // in all rooms
	some  []user
	next  atomic.Int64
}

// user is one of those that were there from the beginning.
type user struct {
	n        *node
	room, id string
	moved    time.Time // when it last came to another node
}

// start waits until every node has heard of every other.
func (w *world) start() error {
	begin := time.Now()
	err := until(time.Minute, func() bool {
		for _, n := range w.nodes {
			if n.cluster.Ready() != nil || len(n.cluster.Nodes()) != len(w.nodes) {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	fmt.Printf("  %d nodes know each other after %v\n", len(w.nodes), since(begin))
	return nil
}

// fill opens every room on every node, with the same number of users.
func (w *world) fill(users int) error {
	begin, before := time.Now(), w.nats.traffic()
	each := users / len(w.nodes) / len(w.rooms)
	var running sync.WaitGroup
	some := make(chan user, len(w.nodes)*len(w.rooms)) // the first of each room and node
	for _, n := range w.nodes {
		running.Go(func() {
			for _, room := range w.rooms {
				n.hub.Open(room)
				for i := range each {
					id := w.id()
					n.table.Open(room, id, nobody{})
					if i == 0 {
						some <- user{n: n, room: room, id: id}
					}
				}
				n.cluster.Changed(room)
			}
		})
	}
	running.Wait()
	close(some)
	for u := range some {
		w.some = append(w.some, u)
	}
	w.users = each * len(w.nodes) * len(w.rooms)
	if err := until(5*time.Minute, w.agree); err != nil {
		return err
	}
	took := since(begin)
	if err := w.settle(); err != nil {
		return err
	}
	pairs := float64(len(w.nodes) * len(w.rooms))
	in, out := w.nats.traffic().since(before)
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	fmt.Printf("  %d users in %d rooms on %d nodes: all nodes know the sum after %v\n", w.users, len(w.rooms), len(w.nodes), took)
	fmt.Printf("  for each room and node that opens it: %.1f messages to NATS, %.1f from NATS\n", in.msgs/pairs, out.msgs/pairs)
	fmt.Printf("  heap of all nodes together: %d bytes a user\n", int(mem.HeapAlloc)/w.users)
	return nil
}

// rest measures what goes on while nothing happens.
func (w *world) rest(lasting time.Duration) error {
	before, cpu := w.nats.traffic(), w.nats.cpu()
	begin := time.Now()
	time.Sleep(lasting)
	seconds := time.Since(begin).Seconds()
	in, out := w.nats.traffic().since(before)
	nodes := float64(len(w.nodes))
	fmt.Printf("  a second and node: %.1f messages to NATS, %.1f from NATS; of NATS %.0f %% of one CPU\n",
		in.msgs/seconds/nodes, out.msgs/seconds/nodes, 100*(w.nats.cpu()-cpu).Seconds()/seconds)
	return nil
}

// kill ends a node without a word.
func (w *world) kill() error {
	victim := w.nodes[0]
	gone := 0
	for _, r := range victim.table.Rooms() {
		gone += r.Users
	}
	begin := time.Now()
	w.way.cut()
	w.nodes = w.nodes[1:]
	w.users -= gone
	if err := until(30*time.Second, w.agree); err != nil {
		return err
	}
	fmt.Printf("  its %d users are out of the sum of all others after %v\n", gone, since(begin))
	return nil
}

// freeze stops NATS for so long that all nodes take each other for dead.
func (w *world) freeze(lasting time.Duration) error {
	before := w.nats.traffic()
	if err := w.nats.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(lasting)
	begin := time.Now()
	if err := w.nats.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	time.Sleep(time.Second) // else all agree for having heard nothing
	if err := until(2*time.Minute, w.agree); err != nil {
		return err
	}
	in, out := w.nats.traffic().since(before)
	fmt.Printf("  after %v without NATS all nodes know the sum again after %v: %.0f MB to NATS, %.0f from NATS\n",
		lasting, since(begin), in.bytes/1e6, out.bytes/1e6)
	return nil
}

// agree says whether every node has the true sum.
func (w *world) agree() bool {
	for _, n := range w.nodes {
		sum := 0
		for _, room := range w.rooms {
			sum += n.count(room)
		}
		if sum != w.users {
			return false
		}
	}
	return true
}

// settle waits until all agree and what was on its way has come.
func (w *world) settle() error {
	time.Sleep(3 * time.Second)
	return until(time.Minute, w.agree)
}

// idle is what NATS takes and sends in a second while nothing happens.
func (w *world) idle() (in, out flow) {
	before, begin := w.nats.traffic(), time.Now()
	time.Sleep(5 * time.Second)
	in, out = w.nats.traffic().since(before)
	seconds := time.Since(begin).Seconds()
	return flow{in.msgs / seconds, in.bytes / seconds}, flow{out.msgs / seconds, out.bytes / seconds}
}

// heard is how many events have come to all nodes together.
func (w *world) heard() int {
	sum := 0
	for _, n := range w.nodes {
		events, _ := n.hub.History()
		sum += events
	}
	return sum
}

func (w *world) id() string { return fmt.Sprintf("client-%09d", w.next.Add(1)) }

func until(deadline time.Duration, ok func() bool) error {
	for end := time.Now().Add(deadline); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("not so after %v", deadline)
		}
	}
	return nil
}

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }
