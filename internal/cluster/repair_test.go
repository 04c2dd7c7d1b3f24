package cluster

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/hub"
)

// An event that was skipped, because another node did not know it when it reported the room's position, leads to an
// io:gap.
func TestPassedOver(t *testing.T) {
	n, reader := newAlone(t)
	f := &n.room("lobby").feed
	// The room is up to date until 6, and its last event is 3. Then a message says that 5 was before it.
	f.link = 3
	f.onLive(live{Event: hub.Event{Seq: 8, Name: "news", Data: []byte("8")}, before: 5})
	f.onLive(live{Event: hub.Event{Seq: 9, Name: "news", Data: []byte("9")}, before: 8})
	var b hub.Batch
	reader.Pending(&b)
	got := string(slices.Concat(b.Bytes...))
	gap, event := strings.Index(got, "event: io:gap"), strings.Index(got, "event: news")
	if gap < 0 || event < gap || strings.Count(got, "io:gap") != 1 {
		t.Errorf("got %q, want one io:gap and then the news", got)
	}
}

// Each server of an old NATS has its own sequence. Newer servers, and a single server, agree.
func TestEpoch(t *testing.T) {
	n, _ := newAlone(t)
	info := func(leader string, replicas int) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{
			Created: time.Unix(1_700_000_000, 0), Config: jetstream.StreamConfig{Replicas: replicas}, Cluster: &jetstream.ClusterInfo{Leader: leader},
		}
	}
	for _, row := range []struct {
		version  string
		unsound  bool
		replicas int
		same     bool
	}{
		{"2.9.10", true, 3, false}, {"2.10.29", true, 3, false}, {"2.9.10", true, 1, true}, {"2.11.0", false, 3, true},
		{"2.14.0-preview.1", false, 3, true}, {"3.0.0", false, 3, true}, {"of a fork", false, 3, true},
	} {
		if got := older(row.version, firstSound); got != row.unsound {
			t.Errorf("%s is unsound: got %v, want %v", row.version, got, row.unsound)
		}
		n.unsound.Store(row.unsound)
		a, b := n.epochOf(info("nats-0", row.replicas)), n.epochOf(info("nats-1", row.replicas))
		if (a == b) != row.same {
			t.Errorf("%s with %d replicas: got epochs %q and %q of two leaders, want the same: %v", row.version, row.replicas, a, b, row.same)
		}
	}
}

// Without NATS nobody waits for a room, because it cannot be loaded. The node keeps trying to reach NATS.
func TestAlone(t *testing.T) {
	n, _ := newAlone(t)
	begin := time.Now()
	if n.room("lobby").wait(t.Context()); time.Since(begin) >= longest {
		t.Errorf("a reader waited for %v, want no time", time.Since(begin))
	}
	if got := n.nc.Opts.MaxReconnect; got >= 0 {
		t.Errorf("NATS is given up after %d attempts, want never", got)
	}
}
