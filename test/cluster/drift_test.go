package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/test/rig"
)

// In an old NATS with three servers, a new leader may number the events in another way than the leader before it.
// Readers then get an io:gap and everything with its new number. A cursor of the former leader is not valid any more.
// Events are read from the leader.
func TestNewLeaderOfOldNATS(t *testing.T) {
	t.Parallel()
	servers, urls := startNATSServers(t, debianNATS(t), 3, func(_, _ int, addr string) string { return addr })
	if !drifts(t, urls) {
		t.Fatal("Debian's NATS has become a new one: take an old one to test this")
	}
	first := startNode(t, urls).ready(t) // makes the streams
	_, js := jetStream(t, urls)
	rig.Wait(t, 90*time.Second, "three replicas", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s, err := js.Stream(ctx, "headcount_events")
		return err == nil && s.CachedInfo().Config.Replicas == 3
	})
	first.stop()
	was := leader(t, servers, urls)
	stays := servers[(slices.Index(servers, was)+1)%len(servers)].URL
	n := startNode(t, stays).ready(t)
	const rooms, events = 6, 10 // so many that a consumer would read them from a newer NATS, which may have it anywhere
	var readers []*reader
	for i := range rooms {
		room := fmt.Sprintf("room-%d", i)
		readers = append(readers, read(t, n.URL, room, "client-stays"))
		for k := range events {
			mustEmit(t, n.URL, room, "n", fmt.Sprint(k+1))
		}
		awaitData(t, readers[i], numbers(1, events)...)
	}
	away := read(t, n.URL, "room-0", "client-away0")
	away.stop()

	consumers, single := countReads(t, stays)
	was.kill()
	again := append(append(numbers(1, events), "io:gap"), numbers(1, events)...)
	for _, r := range readers {
		rig.Wait(t, 40*time.Second, "the gap, and everything again", func() bool { return slices.Equal(r.data(), again) })
	}
	n.ready(t)
	mustEmit(t, n.URL, "room-0", "n", fmt.Sprint(events+1))
	awaitData(t, readers[0], append(again, fmt.Sprint(events+1))...)
	awaitData(t, newReaderFrom(t, []string{n.URL}, "room-0", "client-away0", away.cursor()), append([]string{"io:gap"}, numbers(1, events+1)...)...)
	if c, one := consumers.Load(), single.Load(); c > 0 || one < rooms*events {
		t.Errorf("%d reads by consumers and %d of single events, want none and at least %d, which the leader alone answers", c, one, rooms*events)
	}
}

// countReads counts the requests for events that clients of that server send, to consumers and for single events.
func countReads(t *testing.T, url string) (consumers, single *atomic.Int64) {
	t.Helper()
	nc, _ := jetStream(t, url)
	consumers, single = new(atomic.Int64), new(atomic.Int64)
	for subject, count := range map[string]*atomic.Int64{
		"$JS.API.CONSUMER.MSG.NEXT.headcount_events.*": consumers,
		"$JS.API.STREAM.MSG.GET.headcount_events":      single,
	} {
		if _, err := nc.Subscribe(subject, func(*nats.Msg) { count.Add(1) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return consumers, single
}

// A former leader of an old NATS may send an event late, with a number far from those of the stream. The node does not
// ask for earlier events again and again, and the events of the stream keep coming.
func TestStrayEvent(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 0, t.TempDir()).URL
	n := startNode(t, url).ready(t)
	nc, _ := jetStream(t, url)
	sent := make(chan *nats.Msg, 100)
	if _, err := nc.ChanSubscribe("headcount.live.>", sent); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	if _, err := nc.Subscribe("$JS.API.STREAM.INFO.headcount_events", func(*nats.Msg) { asked.Add(1) }); err != nil {
		t.Fatal(err)
	}
	r := read(t, n.URL, "lobby", "client-0001")
	emitNumbers(t, n.URL, 1, 1)
	awaitData(t, r, "1")

	stray := <-sent
	stray.Header.Set(jetstream.SequenceHeader, "1000")
	stray.Header.Set(jetstream.LastSequenceHeader, "999")
	before, begin := asked.Load(), time.Now()
	if err := nc.PublishMsg(stray); err != nil {
		t.Fatal(err)
	}
	rig.Wait(t, 10*time.Second, "NATS was asked 20 times", func() bool { return asked.Load()-before >= 20 })
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("NATS was asked 20 times in %v for what it does not have, want longer waits", took)
	}
	emitNumbers(t, n.URL, 2, 4)
	awaitData(t, r, numbers(1, 4)...)
}
