package cluster

import (
	"fmt"
	"strings"
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
	seen := watchConsumers(t, nats1.URL)
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
	t.Logf("%d nodes opened %d rooms each: agreed after %v, %d consumers", count, rooms, time.Since(begin), seen.made.Load())
	time.Sleep(4 * time.Second) // all rooms are compared once
	if got := seen.made.Load(); got > 30*count {
		t.Errorf("%d nodes opened %d rooms each: got %d consumers, want at most 30 a node", count, rooms, got)
	}

	nats1.stop()
	nats2 := startNATS(t, port, dir)
	begin = time.Now()
	for _, n := range nodes {
		rig.Wait(t, time.Minute, n.URL+" is ready", func() bool { return n.cluster.Ready() == nil })
	}
	seen = watchConsumers(t, nats2.URL)
	rig.Wait(t, time.Minute, "all nodes agree again", agree)
	t.Logf("NATS was away: agreed after %v, %d consumers", time.Since(begin), seen.made.Load())
}

// A node that opens many rooms with a history at the same time has at most four NATS consumers at a time, because NATS
// has only so many for all nodes together.
func TestFewConsumers(t *testing.T) {
	t.Parallel()
	const rooms, each = 40, 12
	nats1 := startNATS(t, portOf(rig.FreeAddr(t)), t.TempDir())
	emits, opens := startNode(t, nats1.URL).ready(t), startNode(t, nats1.URL).ready(t)
	for i := range rooms {
		for range each {
			mustEmit(t, emits.URL, fmt.Sprintf("room %d", i), "n", "1")
		}
	}
	seen := watchConsumers(t, nats1.URL)
	for i := range rooms {
		opens.engine.Hub().Open(fmt.Sprintf("room %d", i))
	}
	rig.Wait(t, time.Minute, "a consumer for each room, which is gone again", func() bool { return seen.made.Load() >= rooms && seen.open.Load() == 0 })
	if got := seen.most.Load(); got > 4 {
		t.Errorf("the node had %d consumers at the same time, want at most 4", got)
	}
}

// consumers counts the consumers on a NATS server.
type consumers struct{ made, open, most atomic.Int64 }

// watchConsumers counts the consumers that NATS makes from now on.
func watchConsumers(t *testing.T, url string) *consumers {
	t.Helper()
	nc, _ := jetStream(t, url)
	var c consumers
	if _, err := nc.Subscribe("$JS.EVENT.ADVISORY.CONSUMER.>", func(m *nats.Msg) {
		switch {
		case strings.HasPrefix(m.Subject, "$JS.EVENT.ADVISORY.CONSUMER.CREATED."):
			c.made.Add(1)
			c.most.Store(max(c.most.Load(), c.open.Add(1)))
		case strings.HasPrefix(m.Subject, "$JS.EVENT.ADVISORY.CONSUMER.DELETED."):
			c.open.Add(-1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return &c
}
