package cluster

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// The network between a node and NATS fails without a reset, for so long that the others give the node up. Its streams
// stay open. When the network is back, the node has everything that happened meanwhile, and nobody is counted twice.
func TestPartition(t *testing.T) {
	t.Parallel()
	s := startNATS(t, 0, t.TempDir())
	cut := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	a, b := startNode(t, s.URL).ready(t), startNode(t, cut.URL()).ready(t)
	ra, rb := read(t, a.URL, "lobby", "client-00a1"), read(t, b.URL, "lobby", "client-00b1")
	hops := read(t, b.URL, "lobby", "client-00b2")
	for _, r := range []*reader{ra, rb, hops} {
		r.await(t, 3)
	}
	emitNumbers(t, a.URL, 1, 2)
	awaitData(t, rb, "1", "2")

	begin := time.Now()
	cut.hold(true)
	hops.hop(a.URL) // known to b, which sees the stream end
	lounge := newReader(t, []string{b.URL}, "lounge", "client-00b3")
	rig.Wait(t, 3*time.Second, "a stream is let in though NATS does not answer", func() bool { return lounge.count() == 1 })
	ra.await(t, 2)
	t.Logf("the other node's users were out of the count after %v", time.Since(begin))
	if time.Since(begin) > 6*time.Second {
		t.Errorf("the other node's users were counted for %v, want at most 6s", time.Since(begin))
	}
	rb.await(t, 1)
	emitNumbers(t, a.URL, 3, 5)
	awaitData(t, hops, numbers(1, 5)...)
	rig.Wait(t, 15*time.Second, "b is not ready", func() bool { return status(b.URL+"/readyz") == 503 })
	time.Sleep(time.Until(begin.Add(10 * time.Second)))

	cut.hold(false)
	b.ready(t)
	for _, r := range []*reader{ra, rb, hops} {
		r.await(t, 3)
	}
	awaitData(t, rb, numbers(1, 5)...)
	if rb.opens() != 1 {
		t.Errorf("the stream of the node that was cut off was opened %d times, want once", rb.opens())
	}
	atRest(t, 3, a, b)
}

// A client reconnects with the cursor of an event that the node cannot know yet. The NATS server of the node is cut
// off from the others, and until it notices that, it answers that there is no such event. The node trusts the cursor.
func TestCursorAhead(t *testing.T) {
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	a, b := startNode(t, s.URL).ready(t), startNode(t, way.URL()).ready(t)
	emitNumbers(t, a.URL, 1, 1)
	ends := regexp.MustCompile(`("last_seq"|"headcount\.emit\.[^"]+"):\s*2\b`) // of the events, and of the room
	kept := regexp.MustCompile(`\{"stream":\s*"KV_headcount_shared"`)
	way.change(func(data []byte) {
		for _, at := range ends.FindAllIndex(data, -1) {
			data[at[1]-1] = '1'
		}
		for _, at := range kept.FindAllIndex(data, -1) {
			data[at[0]] = '[' // which is no answer
		}
	})
	second := mustEmit(t, a.URL, "lobby", "n", "2")
	r := newReaderFrom(t, []string{b.URL}, "lobby", "client-0001", second.ID)
	rig.Wait(t, 5*time.Second, "first count", func() bool { return r.count() > 0 })
	way.change(nil)
	emitNumbers(t, a.URL, 3, 3)
	awaitData(t, r, "3")
}
