package cluster

import (
	"slices"
	"strings"
	"testing"

	"headcount/internal/hub"
)

// An event that was passed over, because whoever said how far the room is did not know of it, is told by an io:gap.
func TestPassedOver(t *testing.T) {
	n, reader := newAlone(t)
	f := &n.room("lobby").feed
	// The room is up to date until 6, the last event that it had is 3; then one says that 5 was before it.
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

// Two nodes that have yielded a user to each other: one of them, the one with the later name, takes it back.
func TestRetakes(t *testing.T) {
	n, _ := newAlone(t)
	r := n.room("lobby")
	for _, row := range []struct {
		by   string
		want bool
	}{{"~later", false}, {"-earlier", true}} {
		n.table.Yield("lobby", "client-0001")
		r.tally.yielded = map[string]string{"client-0001": row.by}
		if got := n.retakes("lobby", "client-0001", row.by); got != row.want {
			t.Errorf("asked by %q: got %v, want %v", row.by, got, row.want)
		}
	}
	if n.retakes("lobby", "client-0001", "-earlier") {
		t.Error("it was taken back twice")
	}
	if !n.table.Has("lobby", "client-0001") {
		t.Error("the user is on neither node")
	}
}
