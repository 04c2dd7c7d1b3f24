package cluster

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/hub"
)

// clock is the format in which NATS logs the time of day.
const clock = "15:04:05.000000"

// ack is the answer to an accepted event.
type ack struct {
	at       time.Time
	node, id string
	tries    int
}

// acks holds the accepted events by their data, with the node that accepted each and its number in the stream.
type acks struct {
	mu     sync.Mutex
	byData map[string]ack
}

func (a *acks) add(data string, k ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byData == nil {
		a.byData = make(map[string]ack)
	}
	a.byData[data] = k
}

// lacking returns the events that the reader has not got: those that no io:gap came behind, and how many one did.
func (a *acks) lacking(r *reader) (untold []string, told int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := make(map[string]bool, len(r.events))
	var gap time.Time
	for _, e := range r.events {
		if e.Name == "io:gap" {
			gap = e.At
		} else {
			got[e.Data] = true
		}
	}
	for data, k := range a.byData {
		switch {
		case got[data]:
		case k.at.Before(gap):
			told++
		default:
			untold = append(untold, data)
		}
	}
	slices.Sort(untold)
	return untold, told
}

// drifts reports whether each of the servers may number the events in its own way. NATS before 2.11 may.
func drifts(t *testing.T, urls string) bool {
	t.Helper()
	nc, _ := jetStream(t, urls)
	var minor int
	_, err := fmt.Sscanf(nc.ConnectedServerVersion(), "2.%d.", &minor)
	return err == nil && minor < 11
}

// explain logs, for every event that a reader lacks, its number in the stream, what the stream has there and next to
// it, and how far the reader was. It shows whether NATS or a node has lost the event.
func (a *acks) explain(t *testing.T, urls string, servers []*natsd, readers []*reader) {
	t.Helper()
	_, js := jetStream(t, urls)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, "headcount_events")
	if err != nil {
		t.Errorf("look for what is lost: %v", err)
		return
	}
	info := stream.CachedInfo()
	t.Logf("%s has the stream from %d to %d", info.Cluster.Leader, info.State.FirstSeq, info.State.LastSeq)
	kept := make(map[uint64]string)
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		if m, err := stream.GetMsg(ctx, seq); err == nil {
			kept[seq] = fmt.Sprintf("%s of %s: %s", m.Header.Get(jetstream.MsgIDHeader), m.Time.Local().Format(clock), m.Data)
		}
	}
	lacking := make(map[string][]*reader)
	for _, r := range readers {
		untold, _ := a.lacking(r)
		for _, data := range untold {
			lacking[data] = append(lacking[data], r)
		}
	}
	for data, who := range lacking {
		k := a.byData[data]
		t.Logf("%s: accepted at %s by %s as %s, at try %d; %d readers lack it", data, k.at.Format(clock), k.node, k.id, k.tries, len(who))
		cursor, _ := hub.ParseCursor(k.id)
		at := cursor.Seq
		for _, seq := range slices.Sorted(maps.Keys(kept)) {
			if seq+3 > at && seq < at+3 || strings.Contains(kept[seq], "key-"+data+" ") {
				t.Logf("  the stream has at %d: %s", seq, kept[seq])
			}
		}
		who[0].mu.Lock()
		for _, e := range who[0].events {
			if when := e.At; when.After(k.at.Add(-time.Second)) && when.Before(k.at.Add(time.Second)) {
				t.Logf("  one of them got at %s: %s, %s", when.Format(clock), e.Data, e.ID)
			}
		}
		who[0].mu.Unlock()
		for _, a := range who[0].sub.Attempts() {
			t.Logf("  a stream of its from %s to %s: %s with %q", a.Opened.Format(clock), a.Ended.Format(clock), a.URL, a.Cursor)
		}
	}
	for _, s := range servers {
		if text, err := os.ReadFile(s.log); err == nil {
			t.Logf("log of %s:\n%s", s.name, text)
		}
	}
}
