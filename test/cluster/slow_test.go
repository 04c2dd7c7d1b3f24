package cluster

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"headcount/internal/cluster"
	"headcount/test/rig"
)

// NATS is slow for one node. Up to the node's timeouts everything works, only later. Beyond them the node behaves as
// if NATS were down, and recovers by itself.
func TestSlowNATS(t *testing.T) {
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	a, b := startNode(t, s.URL).ready(t), startNode(t, way.URL()).ready(t)
	ra, rb := read(t, a.URL, "lobby", "client-000a"), read(t, b.URL, "lobby", "client-000b")
	ra.await(t, 2)

	way.slow(400 * time.Millisecond)
	begin := time.Now()
	emitNumbers(t, b.URL, 1, 2)
	t.Logf("two emits took %v where each way takes 400ms", time.Since(begin))
	if got, want := b.stats(t).Cluster, "ok, but NATS is slow"; !strings.HasPrefix(got, want) {
		t.Errorf("/stats: got cluster %q, want %q", got, want)
	}
	emitNumbers(t, a.URL, 3, 4)
	awaitData(t, ra, numbers(1, 4)...)
	awaitData(t, rb, numbers(1, 4)...)
	// Longer than a claim waits for its answer.
	ra.hop(b.URL)
	rig.Wait(t, 5*time.Second, "reader is back", func() bool { return ra.opens() == 2 })
	rb.hop(a.URL)
	rig.Wait(t, 5*time.Second, "reader is back", func() bool { return rb.opens() == 2 })
	begin = time.Now()
	joins := read(t, b.URL, "lobby", "client-000c")
	rb.await(t, 3)
	t.Logf("a join was in the other node's count after %v", time.Since(begin))
	atRest(t, 3, a, b)
	if got := status(b.URL + "/readyz"); got != http.StatusOK {
		t.Errorf("/readyz: got %d, want 200", got)
	}

	way.slow(4 * time.Second)
	rig.Wait(t, 15*time.Second, "not ready", func() bool { return status(b.URL+"/readyz") == http.StatusServiceUnavailable })
	code, answer, err := emit(b.URL, "lobby", "n", "99", "")
	if err != nil || code != http.StatusServiceUnavailable {
		t.Errorf("emit: got %d %v %v, want 503", code, answer, err)
	}
	emitNumbers(t, a.URL, 5, 6)
	way.slow(0)
	b.ready(t)
	atRest(t, 3, a, b)
	for _, r := range []*reader{ra, rb, joins} {
		rig.Wait(t, 10*time.Second, "the last event", func() bool { d := r.data(); return len(d) > 0 && d[len(d)-1] == "6" })
		for i, got := range r.data() {
			if got == "io:gap" {
				t.Errorf("event %d of %s: got %v, want no gap", i, r.id, r.data())
			}
		}
	}
}

// The clock of NATS is a year ahead of a node's clock, a year behind it, or jumps by two years while they run.
// Everything keeps working, and the history gets no older than it is.
func TestClocks(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	way.change(years(1))
	short := func(w *options, _ *cluster.Options) { w.HistoryAge = time.Minute }
	a, b := startNode(t, s.URL, short).ready(t), startNode(t, way.URL(), short).ready(t)
	ra, rb := read(t, a.URL, "lobby", "client-000a"), read(t, b.URL, "lobby", "client-000b")
	next := 1
	for _, jump := range []struct {
		name  string
		years int
	}{{"ahead", 1}, {"behind", -1}, {"right", 0}} {
		way.change(years(jump.years))
		time.Sleep(5 * time.Second) // longer than a node lives unheard of
		emitNumbers(t, a.URL, next, next)
		emitNumbers(t, b.URL, next+1, next+1)
		awaitData(t, ra, numbers(1, next+1)...)
		awaitData(t, rb, numbers(1, next+1)...)
		// A room that is opened now is loaded from NATS.
		room := "room " + jump.name
		first := mustEmit(t, a.URL, room, "n", "1")
		mustEmit(t, a.URL, room, "n", "2")
		awaitData(t, newReaderFrom(t, []string{b.URL}, room, "client-"+jump.name, first.ID), "2")
		if ra.count() != 2 || rb.count() != 2 {
			t.Errorf("%s: counts %v and %v, want 2", jump.name, ra.seen(), rb.seen())
		}
		next += 2
	}
	for _, n := range []*node{a, b} {
		if log := n.log.String(); strings.Contains(log, "dead") {
			t.Errorf("a node was taken for dead:\n%s", log)
		}
	}
}

// Debian's NATS does not report its time, and its clock is a year behind or ahead. A room is loaded with its history
// anyway.
func TestClockOfOldNATS(t *testing.T) {
	s := startNATSOf(t, debianNATS(t), 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	short := func(w *options, _ *cluster.Options) { w.HistoryAge = time.Minute }
	for _, off := range []int{-1, 1} {
		way.change(years(off))
		a, b := startNode(t, s.URL, short).ready(t), startNode(t, way.URL(), short).ready(t)
		room := fmt.Sprintf("room %d", off)
		first := mustEmit(t, a.URL, room, "n", "1")
		mustEmit(t, a.URL, room, "n", "2")
		r := newReaderFrom(t, []string{b.URL}, room, "client-0001", first.ID)
		awaitData(t, r, "2")
	}
}

var (
	stampForm = regexp.MustCompile(`"(?:ts|time)":"(\d\d\d\d)-`)                                // in what the API answers
	ackForm   = regexp.MustCompile(`\$JS\.ACK\.[^. ]+\.[^. ]+\.\d+\.\d+\.\d+\.(\d{4})\d{15}\.`) // the time of an event that a consumer gets
)

// years shifts the times in messages of NATS by a number of years, and keeps their length.
func years(count int) func([]byte) {
	return func(data []byte) {
		for _, at := range stampForm.FindAllSubmatchIndex(data, -1) {
			var year int
			fmt.Sscan(string(data[at[2]:at[3]]), &year)
			copy(data[at[2]:at[3]], fmt.Sprint(year+count))
		}
		for _, at := range ackForm.FindAllSubmatchIndex(data, -1) {
			var million int // seconds
			fmt.Sscan(string(data[at[2]:at[3]]), &million)
			copy(data[at[2]:at[3]], fmt.Sprint(million+count*32))
		}
	}
}
