package cluster

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"headcount/internal/cluster"
	"headcount/test/rig"
)

// A cursor of one node is valid on another, also after all nodes have been restarted.
func TestResumeAcrossRestart(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	a, b := startNode(t, url).ready(t), startNode(t, url).ready(t)
	r := read(t, a.URL, "lobby", "client-0001")
	emitNumbers(t, b.URL, 1, 3)
	awaitData(t, r, numbers(1, 3)...)
	r.stop()
	emitNumbers(t, b.URL, 4, 5)
	a.stop()
	b.stop()
	c, d := startNode(t, url).ready(t), startNode(t, url).ready(t)
	emitNumbers(t, d.URL, 6, 7)
	awaitData(t, newReaderFrom(t, []string{c.URL}, "lobby", "client-0001", r.cursor()), numbers(4, 7)...)
}

// If NATS is down when the nodes start, each works alone and says so until NATS is there.
func TestNATSNotThereYet(t *testing.T) {
	url := "nats://" + rig.FreeAddr(t)
	a, b := startNode(t, url), startNode(t, url)
	ra, rb := read(t, a.URL, "lobby", "client-000a"), read(t, b.URL, "lobby", "")
	if ra.count() != 1 || rb.count() != 1 {
		t.Errorf("counts of two nodes without NATS: got %d and %d, want 1", ra.count(), rb.count())
	}
	post(t, a.URL+"/alive", "lobby", "client-lease")
	ra.await(t, 2)
	code, answer, err := emit(a.URL, "lobby", "n", "99", "")
	if err != nil || code != http.StatusServiceUnavailable || !strings.Contains(answer.Error, "refused") {
		t.Errorf("emit without NATS: got %d %v %v, want 503 and the connection refused", code, answer, err)
	}
	rig.Wait(t, 5*time.Second, "not ready, in the log", func() bool { return strings.Contains(a.log.String(), `msg="not ready"`) })

	startNATS(t, port(url), t.TempDir())
	a.ready(t)
	b.ready(t)
	ra.await(t, 3)
	rb.await(t, 3)
	emitNumbers(t, b.URL, 1, 2)
	// What others emitted meanwhile, if they could, was missed.
	awaitData(t, ra, "io:gap", "1", "2")
	awaitData(t, rb, "io:gap", "1", "2")
	if ra.opens() != 1 || rb.opens() != 1 {
		t.Errorf("streams were opened %d and %d times, want once", ra.opens(), rb.opens())
	}
}

// NATS goes down and comes back with its data.
func TestNATSAway(t *testing.T) {
	dir := t.TempDir()
	s := startNATS(t, 0, dir)
	url := s.URL
	a, b := startNode(t, url).ready(t), startNode(t, url).ready(t)
	ra, rb := read(t, a.URL, "lobby", "client-000a"), read(t, b.URL, "lobby", "client-000b")
	ra.await(t, 2)
	rb.await(t, 2)
	emitNumbers(t, a.URL, 1, 2)
	awaitData(t, rb, "1", "2")

	s.stop()
	rig.Wait(t, 10*time.Second, "not ready", func() bool { return status(a.URL+"/readyz") == http.StatusServiceUnavailable })
	if got := a.stats(t).Cluster; !strings.HasPrefix(got, "NATS is away") {
		t.Errorf("/stats: got cluster %q, want that NATS is away", got)
	}
	begin := time.Now()
	code, answer, err := emit(a.URL, "lobby", "n", "99", "")
	if err != nil || code != http.StatusServiceUnavailable || !strings.Contains(answer.Error, "NATS") {
		t.Errorf("emit without NATS: got %d %v %v, want 503 that says why", code, answer, err)
	}
	t.Logf("503 after %v", time.Since(begin))
	// Who is on both nodes now is counted on each.
	both := read(t, b.URL, "lobby", "client-000a")
	joined := time.Now()
	// The other's users leave the count, the own ones stay, and come and go.
	ra.await(t, 1)
	rb.await(t, 2)
	if got := a.stats(t).Nodes; len(got) != 1 {
		t.Errorf("/stats: got nodes %v, want this one", got)
	}
	newcomer := read(t, a.URL, "lobby", "client-000c")
	ra.await(t, 2)
	post(t, b.URL+"/leave", "lobby", "client-000c") // which the other does not hear, now or later: it may have come back by then
	if ra.opens() != 1 || rb.opens() != 1 {
		t.Errorf("streams were opened %d and %d times, want once", ra.opens(), rb.opens())
	}
	rig.Wait(t, 5*time.Second, "it is longer ago than what is said again", func() bool { return time.Since(joined) > 4*time.Second })

	startNATS(t, port(url), dir)
	a.ready(t)
	b.ready(t)
	ra.await(t, 3)
	rb.await(t, 3)
	newcomer.await(t, 3)
	both.await(t, 3)
	atRest(t, 3, a, b)
	emitNumbers(t, b.URL, 3, 4)
	awaitData(t, ra, numbers(1, 4)...)
	awaitData(t, rb, numbers(1, 4)...)
	if got := b.stats(t); got.Cluster != "ok" || len(got.Nodes) != 2 {
		t.Errorf("/stats: got %v, want ok and two nodes", got)
	}
	if ra.opens() != 1 || rb.opens() != 1 || newcomer.opens() != 1 {
		t.Errorf("streams were opened %d, %d and %d times, want once", ra.opens(), rb.opens(), newcomer.opens())
	}
}

// NATS comes back without its data. Clients get an io:gap, and everything keeps working.
func TestNATSLosesEverything(t *testing.T) {
	s := startNATS(t, 0, t.TempDir())
	a, b := startNode(t, s.URL).ready(t), startNode(t, s.URL).ready(t)
	ra := read(t, a.URL, "lobby", "client-000a")
	away := read(t, b.URL, "lobby", "client-000b")
	emitNumbers(t, a.URL, 1, 5)
	awaitData(t, ra, numbers(1, 5)...)
	awaitData(t, away, numbers(1, 5)...)
	away.stop()
	s.stop()
	rig.Wait(t, 10*time.Second, "not ready", func() bool { return status(a.URL+"/readyz") != http.StatusOK })
	startNATS(t, port(s.URL), t.TempDir())
	a.ready(t)
	b.ready(t)
	emitNumbers(t, b.URL, 6, 7)
	awaitData(t, ra, "1", "2", "3", "4", "5", "io:gap", "6", "7")
	awaitData(t, newReaderFrom(t, []string{b.URL}, "lobby", "client-000b", away.cursor()), "io:gap", "6", "7")
}

// Events that NATS stores but does not send out reach the clients anyway.
func TestEventsThatAreNotSent(t *testing.T) {
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	a, b := startNode(t, s.URL).ready(t), startNode(t, way.URL()).ready(t)
	ra, rb := read(t, a.URL, "lobby", "client-000a"), read(t, b.URL, "lobby", "client-000b")
	emitNumbers(t, a.URL, 1, 2)
	awaitData(t, rb, "1", "2")
	way.change(loseEvents)
	emitNumbers(t, a.URL, 3, 5)
	awaitData(t, rb, numbers(1, 5)...) // told so by the node that stored them
	emitNumbers(t, a.URL, 6, 7)
	way.change(nil)
	emitNumbers(t, a.URL, 8, 8) // shows a hole
	awaitData(t, rb, numbers(1, 8)...)
	awaitData(t, ra, numbers(1, 8)...)
}

// loseEvents loses the events that NATS sends out. They have a header, and messages between nodes have none.
func loseEvents(data []byte) { lose(data, "HMSG headcount.live.", "HMSG headcount.lost.") }

// NATS reports that no event is left although there is one. NATS 2.9 was seen to do that.
func TestLastEventWithheld(t *testing.T) {
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	a, b := startNode(t, s.URL).ready(t), startNode(t, way.URL()).ready(t)
	first := mustEmit(t, a.URL, "lobby", "n", "1")
	emitNumbers(t, a.URL, 2, 20) // so many that b reads them by a consumer
	pending := regexp.MustCompile(`"num_pending":1[1-9]\b|\$JS\.ACK\.headcount_events\.\S+\.[1-9] `)
	way.change(func(data []byte) {
		for _, at := range pending.FindAllIndex(data, -1) {
			digits := bytes.TrimRight(data[:at[1]], " ")
			digits[len(digits)-1]--
		}
	})
	r := newReaderFrom(t, []string{b.URL}, "lobby", "client-0001", first.ID)
	awaitData(t, r, numbers(2, 20)...)
	emitNumbers(t, a.URL, 21, 22)
	awaitData(t, r, numbers(2, 22)...)
}

// NATS takes an event for a repeated attempt although it does not have the first one. The event is kept anyway.
func TestLostFirstAttempt(t *testing.T) {
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	a, b := startNode(t, s.URL).ready(t), startNode(t, way.URL()).ready(t)
	r := read(t, a.URL, "lobby", "client-0001")
	mustEmit(t, a.URL, "lobby", "n", "1")
	if code, _, err := emit(a.URL, "lobby", "n", "2", "key"); err != nil || code != http.StatusOK {
		t.Fatalf("emit: got %d %v, want 200", code, err)
	}
	awaitData(t, r, "1", "2")
	second := regexp.MustCompile(`"seq":2,\s*"duplicate":\s*true`)
	way.change(func(data []byte) {
		if at := second.FindIndex(data); at != nil {
			data[at[0]+len(`"seq":`)] = '1' // which is another event
		}
	})
	if code, _, err := emit(b.URL, "lobby", "n", "2", "key"); err != nil || code != http.StatusOK {
		t.Fatalf("emit: got %d %v, want 200", code, err)
	}
	awaitData(t, r, "1", "2", "2")
}

// Clusters with different prefixes on one NATS do not affect each other.
func TestPrefixes(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	other := func(_ *options, c *cluster.Options) { c.Prefix = "other" }
	a, b := startNode(t, url).ready(t), startNode(t, url, other).ready(t)
	ra, rb := read(t, a.URL, "lobby", "client-000a"), read(t, b.URL, "lobby", "client-000b")
	mustEmit(t, a.URL, "lobby", "n", "1")
	mustEmit(t, b.URL, "lobby", "n", "2")
	awaitData(t, ra, "1")
	awaitData(t, rb, "2")
	atRest(t, 1, a, b)
}

// A node receives the events of the rooms that have clients there, and no others.
func TestInterest(t *testing.T) {
	s := startNATS(t, 0, t.TempDir())
	a, b := startNode(t, s.URL).ready(t), startNode(t, s.URL).ready(t)
	read(t, a.URL, "here", "client-000a")
	read(t, b.URL, "lobby", "client-000b")
	inBefore, outBefore := s.traffic(t)
	const events = 300
	big := fmt.Sprintf("%q", strings.Repeat("x", 10_000))
	for range events {
		mustEmit(t, a.URL, "elsewhere", "n", big)
	}
	in, out := s.traffic(t)
	in, out = in-inBefore, out-outBefore
	t.Logf("%d events of 10,000 bytes in a room without readers: NATS took %d bytes and sent %d", events, in, out)
	if in < events*10_000 || out > events*1_000 {
		t.Errorf("NATS took %d bytes and sent %d, want more than %d and less than %d", in, out, events*10_000, events*1_000)
	}
}

// No log and no answer contains a password.
func TestNoPasswordInLogs(t *testing.T) {
	const password = "hunter2-äß"
	addr := rig.FreeAddr(t)
	urls := "nats://me:hunter2-%C3%A4%C3%9F@" + addr
	n := startNode(t, urls)
	rig.Wait(t, 5*time.Second, "not ready", func() bool { return status(n.URL+"/readyz") == http.StatusServiceUnavailable })
	code, answer, _ := emit(n.URL, "lobby", "n", "1", "")
	if code != http.StatusServiceUnavailable {
		t.Errorf("emit: got %d, want 503", code)
	}
	for _, text := range []string{n.log.String(), answer.Error} {
		if strings.Contains(text, password) || strings.Contains(text, "hunter2") {
			t.Errorf("password in %q", text)
		}
	}
	for _, bad := range []string{"nats://me:hunter2@%zz", "http://me:hunter2@host", "nats://me:hunter2@host?x=1", "nats://me:hunter2@:4222"} {
		_, err := cluster.New(cluster.Options{Servers: bad})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got error %v, want one without the password", bad, err)
		}
	}
}

// NATS is out of space. Events that it cannot keep are refused and reach nobody. Everything else keeps working.
func TestNoSpace(t *testing.T) {
	s := startNATS(t, 0, t.TempDir(), 200_000)
	a, b := startNode(t, s.URL).ready(t), startNode(t, s.URL).ready(t)
	r := read(t, b.URL, "lobby", "client-000b")
	big := fmt.Sprintf("%q", strings.Repeat("x", 10_000))
	accepted := 0
	for i := 0; ; i++ {
		code, answer, err := emit(a.URL, "lobby", "n", big, "")
		if err != nil {
			t.Fatal(err)
		}
		if code == http.StatusServiceUnavailable {
			t.Logf("emit %d: %s", i, answer.Error)
			break
		}
		if accepted++; accepted > 100 {
			t.Fatal("NATS took more than it may keep")
		}
	}
	if got, want := a.stats(t).Cluster, "ok, but the last event was not stored"; !strings.HasPrefix(got, want) || !strings.Contains(got, "10047") && !strings.Contains(got, "10023") {
		t.Errorf("/stats: got cluster %q, want %q and NATS's own error", got, want)
	}
	if code, got := status(a.URL+"/readyz"), readyz(t, a.URL); code != http.StatusOK || !strings.HasPrefix(got, "ok, but the last event was not stored") {
		t.Errorf("/readyz: got %d %q, want 200 and the last event not stored", code, got)
	}
	if !strings.Contains(a.log.String(), `msg="event not accepted"`) {
		t.Errorf("the log says nothing of it:\n%s", a.log)
	}
	rig.Wait(t, 5*time.Second, "all that was accepted", func() bool { return len(r.data()) == accepted })
	read(t, a.URL, "lobby", "client-000a")
	r.await(t, 2)
	if len(r.data()) != accepted {
		t.Errorf("events: got %d, want the %d that were accepted", len(r.data()), accepted)
	}
}

// An event above the max_payload of NATS is refused as too large.
func TestTooLargeForNATS(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	a := startNode(t, url, func(w *options, _ *cluster.Options) { w.MaxEvent = 4 << 20 }).ready(t)
	code, answer, err := emit(a.URL, "lobby", "n", fmt.Sprintf("%q", strings.Repeat("x", 2<<20)), "")
	if err != nil || code != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d %v %v, want 413", code, answer, err)
	}
}
