package cluster

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A join sends at most one message to NATS if joins are rare. A busy room sends at most ten a second per node.
func TestMessagesPerJoin(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	a, b := startNode(t, url).ready(t), startNode(t, url).ready(t)
	watcher := read(t, b.URL, "lobby", "client-watch")
	read(t, a.URL, "lobby", "client-first")
	watcher.await(t, 2)
	time.Sleep(4 * time.Second) // the room is compared once after it was opened
	nc, _ := jetStream(t, url)
	var messages atomic.Int64
	for _, subject := range []string{"$KV.headcount_shared.>", "headcount.v4.*.room.>", "headcount.v4.*.node.>", "headcount.live.>"} { // all but signs of life
		if _, err := nc.Subscribe(subject, func(*nats.Msg) { messages.Add(1) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}

	const rare = 10
	for i := range rare {
		newReader(t, []string{a.URL}, "lobby", fmt.Sprintf("client-%04d", i))
		watcher.await(t, 3+i)
		time.Sleep(150 * time.Millisecond)
	}
	got := messages.Swap(0)
	t.Logf("%d rare joins: %d messages", rare, got)
	if got > rare {
		t.Errorf("%d rare joins: got %d messages to NATS, want at most one each", rare, got)
	}

	const many = 300
	begin := time.Now()
	for i := range many {
		newReader(t, []string{a.URL}, "lobby", fmt.Sprintf("many-%04d", i))
	}
	watcher.await(t, 2+rare+many)
	seconds := time.Since(begin).Seconds()
	got = messages.Load()
	t.Logf("%d joins in %.1f s: %d messages", many, seconds, got)
	if float64(got) > 10*seconds+1 {
		t.Errorf("%d joins in %.1f s: got %d messages to NATS, want at most 10 a second", many, seconds, got)
	}
}
