package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"headcount/test/rig"
)

// What NATS does not bring of a room that has just been opened is found a few seconds later, a count as well as an event;
// and the node says once more what it said itself. Later on it is found when the connection comes back.
func TestFoundLater(t *testing.T) {
	t.Parallel()
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	a, b := startNode(t, s.URL).ready(t), startNode(t, way.URL()).ready(t)
	other := play(t, s.URL, "actoraaa")
	r := read(t, b.URL, "lobby", "client-0001")
	other.awaitSaid(b, "one user", func(e entry) bool { return e.Users == 1 })
	way.change(func(data []byte) {
		lose(data, "MSG headcount.live.", "MSG headcount.lost.")
		lose(data, "MSG $KV.headcount_counts.", "MSG $KV.headcount_nobody.")
	})
	emitNumbers(t, a.URL, 1, 2)
	other.says("1", entry{Users: 3})
	awaitData(t, r, "1", "2")
	r.await(t, 4)
	rig.Wait(t, 5*time.Second, "it says its count again", func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		said := 0
		for _, e := range other.said {
			if e.Users == 1 && strings.HasPrefix(e.ID, b.cluster.Tag()) {
				said++
			}
		}
		return said > 1
	})
	emitNumbers(t, a.URL, 3, 4)
	other.says("1", entry{Users: 5})
	way.change(nil)
	way.cut()
	awaitData(t, r, numbers(1, 4)...)
	r.await(t, 6)

	// What it says itself, and NATS does not keep, it says again.
	var lost atomic.Int64
	way.changeForth(func(data []byte) {
		lost.Add(int64(bytes.Count(data, []byte(`"users":2,`))))
		lose(data, "PUB $KV.headcount_counts.", "PUB $KV.headcount_nobody.")
	})
	read(t, b.URL, "lobby", "client-0002")
	rig.Wait(t, 5*time.Second, "it has said so, and twice more, as nats.go does", func() bool { return lost.Load() >= 3 })
	way.changeForth(nil)
	other.awaitSaid(b, "two users", func(e entry) bool { return e.Users == 2 })
}

// lose makes something of messages that concerns nobody.
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

// NATS says that nothing is left when one entry is, of many of a room: the first count that a reader sees has it.
func TestLastEntryWithheld(t *testing.T) {
	s := startNATS(t, 0, t.TempDir())
	way := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	startNode(t, s.URL).ready(t) // which makes the buckets
	nc, _ := jetStream(t, s.URL)
	const nodes, rooms = 12, 8
	for i := range nodes {
		name := fmt.Sprintf("actor%03d-0", i)
		for j := range rooms {
			room := fmt.Sprintf("room %d", j)
			nc.Publish("$KV.headcount_counts."+roomToken(room)+"."+name, encode(entry{ID: name + "-1", Room: room, Version: 1, Users: 1}))
		}
		nc.Publish("$KV.headcount_nodes."+name, nil)
	}
	nc.Flush()
	b := startNode(t, way.URL()).ready(t)
	// Of a consumer of one room, and of one of all that are opened together.
	pending := regexp.MustCompile(`"num_pending":\d*[1-9]\b|\$JS\.ACK\.KV_headcount_counts\.\S+\.\d*[1-9] `)
	way.change(func(data []byte) {
		for _, at := range pending.FindAllIndex(data, -1) {
			digits := bytes.TrimRight(data[:at[1]], " ")
			digits[len(digits)-1]--
		}
	})
	if r := read(t, b.URL, "room 0", "client-0001"); r.seen()[0] != nodes+1 {
		t.Errorf("first count: got %d, want %d", r.seen()[0], nodes+1)
	}
	for j := 1; j < rooms; j++ {
		b.engine.Hub().Open(fmt.Sprintf("room %d", j))
	}
	for j := 1; j < rooms; j++ {
		if r := read(t, b.URL, fmt.Sprintf("room %d", j), "client-0001"); r.seen()[0] != nodes+1 {
			t.Errorf("first count of room %d of many: got %d, want %d", j, r.seen()[0], nodes+1)
		}
	}
}

// A sign of life that comes to a node which does not have the user goes to the others that have users in the room, and is
// answered by the one that has it alone.
func TestSignOfLifeElsewhere(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	n := startNode(t, url).ready(t)
	other := play(t, url, "actoraaa")
	heard := func(id string) bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		return slices.Contains(other.alives, id)
	}
	other.mu.Lock()
	other.has = []string{"client-there"}
	other.mu.Unlock()
	// Each time in a room that is opened for it. An answer is waited for 250ms, which may be too short for a busy machine.
	there := func(try int) bool {
		room := fmt.Sprintf("room %d", try)
		other.says("1", entry{Room: room, Users: 1})
		post(t, n.URL+"/alive", room, "client-there")
		return n.engine.Users().Count(room) == 0
	}
	if !slices.ContainsFunc([]int{1, 2, 3, 4, 5}, there) || !heard("client-there") {
		t.Error("the user is counted here, though it is on the other node")
	}
	other.says("1", entry{Users: 1})
	rig.Wait(t, 5*time.Second, "one user", func() bool { return count(n.URL, "lobby") == 1 })
	other.says("1", entry{})
	rig.Wait(t, 5*time.Second, "nobody is left", func() bool { return count(n.URL, "lobby") == 0 })
	post(t, n.URL+"/alive", "lobby", "client-here")
	other.awaitSaid(n, "one user", func(e entry) bool { return e.Users == 1 })
	if heard("client-here") {
		t.Error("a node that has no users in the room was asked for one")
	}
	replies, err := other.nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []shout{{Alive: []string{"client-nobody"}}, {Alive: []string{"client-here"}}} {
		other.nc.PublishRequest("headcount.live."+roomToken("lobby"), replies.Subject, encode(s))
	}
	var got answer
	if m, err := replies.NextMsg(5 * time.Second); err != nil || json.Unmarshal(m.Data, &got) != nil || !slices.Equal(got.IDs, []string{"client-here"}) {
		t.Errorf("first answer: got %+v %v, want the one for client-here", got, err)
	}
}

// A sign of life comes to the node that has just given its user up, before the next node has said that it has it: that one
// is asked all the same, and the user counted once.
func TestSignOfLifeBehind(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	n := startNode(t, url).ready(t)
	other := play(t, url, "actoraaa")
	behind := func(try int) bool { // an answer is waited for 250ms, which may be too short for a busy machine
		id := fmt.Sprintf("client-%04d", try)
		other.mu.Lock()
		other.has = append(other.has, id)
		other.mu.Unlock()
		post(t, n.URL+"/alive", "lobby", id)
		other.awaitSaid(n, "one user", func(e entry) bool { return e.Users == 1 })
		other.ask(n, ask{To: n.cluster.Name(), Claim: id, By: "actoraaa-0-1", Nonce: id})
		post(t, n.URL+"/alive", "lobby", id)
		once := !n.engine.Users().Has("lobby", id)
		post(t, n.URL+"/leave", "lobby", id)
		return once
	}
	if !slices.ContainsFunc([]int{1, 2, 3, 4, 5}, behind) {
		t.Error("the user is counted here, though the other node has it")
	}
}
