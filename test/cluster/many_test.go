package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"headcount/internal/engine"
	"headcount/test/rig"
)

// Nodes that open all their rooms at the same time agree. They do so without a NATS consumer for each room and node,
// because NATS cannot make that many. This holds when the nodes start, and when NATS comes back.
func TestManyRoomsAtOnce(t *testing.T) {
	const count, rooms, each = 12, 100, 3
	dir, port := t.TempDir(), portOf(rig.FreeAddr(t))
	nats1 := startNATS(t, port, dir)
	var nodes []*node
	for range count {
		nodes = append(nodes, startNode(t, nats1.URL))
	}
	for _, n := range nodes {
		rig.Wait(t, 10*time.Second, "node knows the others", func() bool { return len(n.cluster.Nodes()) == count })
	}
	agree := func() bool {
		for _, n := range nodes {
			for i := range rooms {
				if users := n.cluster.Count(t.Context(), fmt.Sprintf("room %d", i)); users != count*each {
					return false
				}
			}
		}
		return true
	}

	var opening sync.WaitGroup
	made := consumersMade(t, nats1.URL)
	begin := time.Now()
	for at, n := range nodes {
		opening.Go(func() {
			for i := range rooms {
				room := fmt.Sprintf("room %d", i)
				n.engine.Hub().Open(room)
				for j := range each {
					n.engine.Users().Open(room, fmt.Sprintf("client-%d-%d-%d", at, i, j), new(engine.Stream))
				}
				n.cluster.Changed(room)
			}
		})
	}
	opening.Wait()
	rig.Wait(t, time.Minute, "all nodes agree", agree)
	t.Logf("%d nodes opened %d rooms each: agreed after %v, %d consumers", count, rooms, time.Since(begin), made.Load())
	time.Sleep(4 * time.Second) // all rooms are compared once
	if got := made.Load(); got > 30*count {
		t.Errorf("%d nodes opened %d rooms each: got %d consumers, want at most 30 a node", count, rooms, got)
	}

	nats1.stop()
	nats2 := startNATS(t, port, dir)
	begin = time.Now()
	for _, n := range nodes {
		rig.Wait(t, time.Minute, n.URL+" is ready", func() bool { return n.cluster.Ready() == nil })
	}
	made = consumersMade(t, nats2.URL)
	rig.Wait(t, time.Minute, "all nodes agree again", agree)
	t.Logf("NATS was away: agreed after %v, %d consumers", time.Since(begin), made.Load())
}

// consumersMade counts the consumers that NATS makes from now on.
func consumersMade(t *testing.T, url string) *atomic.Int64 {
	t.Helper()
	nc, _ := jetStream(t, url)
	var made atomic.Int64
	if _, err := nc.Subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.>", func(*nats.Msg) { made.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return &made
}
