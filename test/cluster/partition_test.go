package cluster

import (
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// A node is cut off from NATS without a word, for longer than it takes to be taken for dead. Its streams stay; when it is
// back it is one with the others, with all they said meanwhile, and nobody is counted twice.
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
