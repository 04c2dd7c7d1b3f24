package cluster

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/cluster"
	"headcount/internal/cluster/union"
	"headcount/internal/engine"
	"headcount/test/rig"
)

// lose turns some messages into messages that nobody listens for.
func lose(data []byte, what, instead string) {
	for {
		i := bytes.Index(data, []byte(what))
		if i < 0 {
			return
		}
		copy(data[i:], instead)
		data = data[i:]
	}
}

// If NATS loses a message, about a count or an event, the nodes find out within a few seconds or when the connection
// is back.
func TestFoundLater(t *testing.T) {
	t.Parallel()
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	a, b := startNode(t, s.URL).ready(t), startNode(t, way.URL()).ready(t)
	r := read(t, b.URL, "lobby", "client-0001")
	stays := read(t, a.URL, "lobby", "client-0002")
	r.await(t, 2)
	var lost atomic.Int64
	loseAll := func(data []byte) {
		lose(data, "MSG headcount.live.", "MSG headcount.lost.")
		lost.Add(loseDeltas(data))
	}
	way.change(loseAll)
	emitNumbers(t, a.URL, 1, 2)
	post(t, a.URL+"/alive", "lobby", "client-0003")
	stays.await(t, 3)
	awaitData(t, r, "1", "2")
	r.await(t, 3)
	emitNumbers(t, a.URL, 3, 4)
	post(t, a.URL+"/alive", "lobby", "client-0004")
	stays.await(t, 4)
	way.change(nil)
	way.cut()
	awaitData(t, r, numbers(1, 4)...)
	r.await(t, 4)
	if lost.Load() == 0 {
		t.Error("no change was lost") // one that arrived in two pieces was not
	}
}

// Events of other rooms that NATS drops, because they are more than the history holds, are no gap in a quiet room.
func TestQuietRoom(t *testing.T) {
	t.Parallel()
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	short := func(o *options, c *cluster.Options) { o.History, c.History = 10, 10 }
	a, b := startNode(t, s.URL, short).ready(t), startNode(t, way.URL(), short).ready(t)
	r := read(t, b.URL, "quiet", "client-0001")
	r.await(t, 1)
	emitNumbers(t, a.URL, 1, 30)
	way.change(func(data []byte) { lose(data, "MSG headcount.live.", "MSG headcount.lost.") }) // so it is read from the stream
	mustEmit(t, a.URL, "quiet", "n", "1")
	way.change(nil)
	way.cut()
	awaitData(t, r, "1")
}

// loseDeltas loses the messages about changes, and keeps those about whole sets. It returns how many it has lost.
func loseDeltas(data []byte) (lost int64) {
	eachMessage(data, func(subject, payload []byte) {
		if bytes.Contains(subject, []byte(".room.")) && isDelta(payload) {
			payload[0] = 0xff // which is no message
			lost++
		}
	})
	return lost
}

// isDelta reports whether a payload begins with a change.
func isDelta(payload []byte) bool {
	msg, _, _ := union.Decode(payload)
	_, is := msg.(union.Delta)
	return is
}

// eachMessage lets take change the messages to a room that arrive whole.
func eachMessage(data []byte, take func(subject, payload []byte)) {
	for {
		at := bytes.Index(data, []byte("MSG headcount.v4."))
		if at < 0 {
			return
		}
		data = data[at:]
		end := bytes.Index(data, []byte("\r\n"))
		if end < 0 {
			return
		}
		fields, size := strings.Fields(string(data[:end])), 0
		fmt.Sscan(fields[len(fields)-1], &size)
		if len(data) < end+2+size {
			return
		}
		take(data[4:4+len(fields[1])], data[end+2:end+2+size])
		data = data[end+2+size:]
	}
}

// If a node has a wrong set of another node, the digest shows it. The mismatch is counted, and the node asks for the
// set.
func TestMismatch(t *testing.T) {
	t.Parallel()
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	a, b := startNode(t, s.URL).ready(t), startNode(t, way.URL()).ready(t)
	r, other := read(t, b.URL, "lobby", "client-0001"), read(t, a.URL, "lobby", "client-0002")
	r.await(t, 2)
	way.change(func(data []byte) {
		eachMessage(data, func(_, payload []byte) {
			if isDelta(payload) {
				payload[len(payload)-1] ^= 1 // of the last hash
			}
		})
	})
	post(t, a.URL+"/alive", "lobby", "client-0003")
	other.await(t, 3)
	r.await(t, 3)
	way.change(nil)
	post(t, b.URL+"/alive", "lobby", "client-0003") // would be another one if it was not repaired
	rig.Wait(t, 5*time.Second, "the set is right again", func() bool {
		self := slices.IndexFunc(b.cluster.Nodes(), func(one engine.NodeStatus) bool { return one.Self })
		return b.cluster.Nodes()[self].Mismatches == 1
	})
	post(t, b.URL+"/leave", "lobby", "client-0003")
	atRest(t, 2, a, b)
}

// A renewal that reaches a node without the user is forwarded to the node that has it, and the user stays there.
func TestSignOfLifeElsewhere(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	a, b := startNode(t, url).ready(t), startNode(t, url).ready(t)
	read(t, a.URL, "lobby", "client-000a")
	read(t, b.URL, "lobby", "client-000b").await(t, 2)
	post(t, a.URL+"/alive", "lobby", "client-lease")
	atRest(t, 3, a, b)
	// An answer is waited for 250ms, which may be too short for a busy machine.
	there := func(int) bool {
		post(t, b.URL+"/alive", "lobby", "client-lease")
		return !b.engine.Users().Has("lobby", "client-lease")
	}
	if !slices.ContainsFunc([]int{1, 2, 3, 4, 5}, there) {
		t.Error("the user is counted here, though it is on the other node")
	}
	atRest(t, 3, a, b)
}

// Nodes send each other hashes. No client id ever reaches NATS.
func TestNoIDsOnNATS(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	nc, _ := jetStream(t, url)
	all := make(chan *nats.Msg, 10_000)
	if _, err := nc.ChanSubscribe(">", all); err != nil {
		t.Fatal(err)
	}
	a, b := startNode(t, url).ready(t), startNode(t, url).ready(t)
	const id = "client-secret"
	r := read(t, a.URL, "lobby", id)
	read(t, b.URL, "lobby", "client-000b").await(t, 2)
	r.hop(b.URL)
	rig.Wait(t, 5*time.Second, "it is back", func() bool { return r.opens() == 2 })
	post(t, b.URL+"/alive", "lobby", id)
	post(t, a.URL+"/alive", "lobby", id)
	post(t, a.URL+"/leave", "lobby", id)
	r.stop()
	a.stop()
	if len(all) < 10 {
		t.Fatalf("got %d messages, want some", len(all))
	}
	for len(all) > 0 {
		if m := <-all; bytes.Contains(m.Data, []byte(id)) {
			t.Errorf("the id is in %q to %s", m.Data, m.Subject)
		}
	}
}

// If the key of the hashes is lost with its bucket, the nodes store it again, and no count changes. If NATS has
// another key, all nodes change to that one.
func TestKey(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	a, b := startNode(t, url).ready(t), startNode(t, url).ready(t)
	ra, rb := read(t, a.URL, "lobby", "client-000a"), read(t, b.URL, "lobby", "client-000b")
	ra.await(t, 2)
	rb.await(t, 2)
	ra.forget()
	_, js := jetStream(t, url)
	key := func() string {
		s, err := js.Stream(t.Context(), "KV_headcount_shared")
		if err != nil {
			return ""
		}
		m, err := s.GetLastMsgForSubject(t.Context(), "$KV.headcount_shared.key")
		if err != nil {
			return ""
		}
		return string(m.Data)
	}
	first := key()
	if err := js.DeleteStream(t.Context(), "KV_headcount_shared"); err != nil {
		t.Fatal(err)
	}
	rig.Wait(t, 10*time.Second, "the key is there again", func() bool { return key() == first })
	if got := ra.seen(); !slices.Equal(got, []int{2}) {
		t.Errorf("counts: got %v, want 2 only", got)
	}
	if _, err := js.Publish(t.Context(), "$KV.headcount_shared.key", []byte("another key"), jetstream.WithExpectStream("KV_headcount_shared")); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{a, b} {
		rig.Wait(t, 10*time.Second, "the node has taken the other key", func() bool { return strings.Count(n.log.String(), "with this key") == 2 })
	}
	ra.hop(b.URL)
	rig.Wait(t, 5*time.Second, "it is back", func() bool { return ra.opens() == 2 })
	atRest(t, 2, a, b)
}

// A NATS without JetStream is enough for counts. It cannot keep events, and the nodes say so. They ask for JetStream again,
// but not all the time.
func TestCountsWithoutJetStream(t *testing.T) {
	addr := rig.FreeAddr(t)
	s, _ := runNATS(t, &server.Options{Port: portOf(addr)})
	begin := time.Now()
	a, b := startNode(t, "nats://"+addr), startNode(t, "nats://"+addr)
	ra, rb := read(t, a.URL, "lobby", "client-000a"), read(t, b.URL, "lobby", "client-000b")
	ra.await(t, 2)
	rb.await(t, 2)
	post(t, a.URL+"/leave", "lobby", "client-000b")
	ra.await(t, 1)
	if code, _, _ := emit(a.URL, "lobby", "n", "1", ""); code != 503 {
		t.Errorf("emit: got %d, want 503", code)
	}
	varz, err := s.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	if most := 100 * time.Since(begin).Seconds(); float64(varz.InMsgs) > most {
		t.Errorf("NATS got %d messages of both nodes, want at most %.0f, 100 per second", varz.InMsgs, most)
	}
}

// A node that starts while JetStream does not answer gets the key from another node. So they count together.
func TestKeyOfOtherNode(t *testing.T) {
	port := portOf(rig.FreeAddr(t))
	nats1 := startNATS(t, port, t.TempDir())
	a := startNode(t, nats1.URL).ready(t)
	ra := read(t, a.URL, "lobby", "client-000a")
	ra.await(t, 1)
	nats1.stop()
	runNATS(t, &server.Options{Port: port})
	rb := read(t, startNode(t, nats1.URL).URL, "lobby", "client-000b")
	ra.await(t, 2)
	rb.await(t, 2)
}

// A set that is larger than a NATS message is sent in parts.
func TestLargeSet(t *testing.T) {
	n := startNATS(t, 0, t.TempDir())
	a := startNode(t, n.URL).ready(t)
	users := 200_000
	if rig.Race { // which makes it several times slower, and a join waits for the others for a second at most
		users = 140_000
	}
	h := a.engine.Hub().Open("lobby")
	defer a.engine.Hub().Close(h)
	for i := range users {
		a.engine.Users().Open("lobby", fmt.Sprintf("client-%06d", i), new(engine.Stream))
	}
	before, _ := n.traffic(t)
	a.cluster.Changed("lobby")
	// Else b would be right to count those alone whose changes it has got.
	rig.Wait(t, 20*time.Second, "all changes are published", func() bool {
		in, _ := n.traffic(t)
		return in-before > int64(8*users) // a hash each
	})
	b := startNode(t, n.URL).ready(t)
	rig.Wait(t, 20*time.Second, "the nodes know each other", func() bool { return len(b.cluster.Nodes()) == 2 })
	begin := time.Now()
	if got := read(t, b.URL, "lobby", "client-b").seen()[0]; got != users+1 {
		t.Errorf("first count: got %d, want %d", got, users+1)
	}
	t.Logf("a room with %d users was opened in %v", users, time.Since(begin))
}
