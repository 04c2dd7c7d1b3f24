package cluster

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"headcount/test/rig"
)

// actor is a node that the test plays: it says to the others what a real one could say, at the very moment that the test is
// about. So what nodes say is written out here once more, as it is on NATS: it is a format that nodes of two versions share
// while they are restarted one after the other.
type actor struct {
	t   *testing.T
	nc  *nats.Conn
	tag string

	mu      sync.Mutex
	name    string              // "" while it gives no sign of life
	version uint64              // of the last entry
	said    []entry             // what the others said of the lobby, oldest first
	asks    []ask               // what it was asked, likewise
	leaves  []string            // who is said to have said goodbye
	alives  []string            // who is asked about for having given a sign of life
	answers func(ask) *answer   // nil, or what it returns, is none
	rolled  func(shout) *answer // likewise
	has     []string            // who gives a sign of life and is its user
}

type entry struct {
	ID      string         `json:"id"`
	Room    string         `json:"room"`
	Version uint64         `json:"version"`
	Users   int            `json:"users"`
	Closed  bool           `json:"closed,omitempty"`
	In      map[string]int `json:"in,omitempty"`
	Out     map[string]int `json:"out,omitempty"`
	Heir    string         `json:"heir,omitempty"`
	Joined  []string       `json:"joined,omitempty"`
}

type ask struct {
	To    string             `json:"to,omitempty"`
	Room  string             `json:"room,omitempty"`
	Claim string             `json:"claim,omitempty"`
	By    string             `json:"by,omitempty"`
	Nonce string             `json:"nonce,omitempty"`
	Late  bool               `json:"late,omitempty"`
	Has   []string           `json:"has,omitempty"`
	Dead  string             `json:"dead,omitempty"`
	Will  map[string]float64 `json:"will,omitempty"`
}

type answer struct {
	Entry string   `json:"entry,omitempty"`
	Had   bool     `json:"had,omitempty"`
	Heir  string   `json:"heir,omitempty"`
	Users int      `json:"users,omitempty"`
	Node  string   `json:"node,omitempty"`
	IDs   []string `json:"ids,omitempty"`
}

type shout struct {
	Node  string   `json:"node,omitempty"`
	Leave []string `json:"leave,omitempty"`
	Alive []string `json:"alive,omitempty"`
	Roll  []string `json:"roll,omitempty"`
}

// roomToken stands for a room in subjects.
func roomToken(room string) string {
	sum := sha256.Sum256([]byte(room))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// play has the test play a node with that tag, of 8 characters.
func play(t *testing.T, url, tag string) *actor {
	t.Helper()
	nc, err := nats.Connect(url, nats.NoEcho(), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	a := &actor{t: t, nc: nc, tag: tag, name: tag + "-0"}
	for subject, hear := range map[string]nats.MsgHandler{
		"headcount.node." + tag: func(m *nats.Msg) { hearAs(m, a.asked) },
		"headcount.live.>":      func(m *nats.Msg) { hearAs(m, a.shouted) },
		"$KV.headcount_counts." + roomToken("lobby") + ".*": func(m *nats.Msg) { hearAs(m, a.heard) },
	} {
		if _, err := nc.Subscribe(subject, hear); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			a.beat()
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
		nc.Close()
	})
	return a
}

// hearAs has a message heard, and answered if there is an answer.
func hearAs[T any](m *nats.Msg, hear func(T) *answer) {
	var v T
	if json.Unmarshal(m.Data, &v) != nil {
		return
	}
	if a := hear(v); a != nil && m.Reply != "" {
		m.Respond(encode(*a))
	}
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // structs of strings and numbers
	}
	return b
}

func (a *actor) heard(e entry) *answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said = append(a.said, e)
	return nil
}

func (a *actor) asked(q ask) *answer {
	a.mu.Lock()
	a.asks = append(a.asks, q)
	f := a.answers
	a.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(q)
}

func (a *actor) shouted(s shout) *answer {
	a.mu.Lock()
	a.leaves = append(a.leaves, s.Leave...)
	a.alives = append(a.alives, s.Alive...)
	f, name, has := a.rolled, a.name, a.has
	a.mu.Unlock()
	switch {
	case s.Alive != nil && len(has) > 0:
		return &answer{Node: name, IDs: has}
	case s.Roll != nil && f != nil:
		return f(s)
	}
	return nil
}

// beat gives a sign of life.
func (a *actor) beat() {
	a.mu.Lock()
	name := a.name
	a.mu.Unlock()
	if name != "" {
		a.nc.Publish("$KV.headcount_nodes."+name, []byte(`{"interval":1}`))
	}
}

// startBeside starts a node beside one with that tag that the test plays. Each has one user, and the node counts both.
func startBeside(t *testing.T, url, tag string) (*node, *actor) {
	t.Helper()
	n := startNode(t, url).ready(t)
	other := play(t, url, tag)
	read(t, n.URL, "lobby", "client-watch")
	other.says("1", entry{Users: 1})
	rig.Wait(t, 5*time.Second, "the other's count", func() bool { return count(n.URL, "lobby") == 2 })
	return n, other
}

// rename has it live under another name, or give no sign of life any more.
func (a *actor) rename(name string) {
	a.mu.Lock()
	a.name = name
	a.mu.Unlock()
	a.beat()
}

// says has it say what it counts in a room, the lobby if none is named, as its entry of that number, and returns the
// entry. ID is the name that it says it under, if it is another than the one that it lives by.
func (a *actor) says(number string, e entry) entry {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	name := a.name
	if e.ID != "" {
		name = e.ID
	}
	e.ID = name + "-" + number
	if e.Room == "" {
		e.Room = "lobby"
	}
	if e.Version == 0 {
		a.version++
		e.Version = a.version
	}
	if err := a.nc.Publish("$KV.headcount_counts."+roomToken(e.Room)+"."+name, encode(e)); err != nil {
		a.t.Fatal(err)
	}
	return e
}

// ask asks a node, and waits for the answer; ok is false if there is none.
func (a *actor) ask(n *node, q ask) (got answer, ok bool) {
	q.Room = "lobby"
	m, err := a.nc.Request("headcount.node."+n.cluster.Tag(), encode(q), time.Second)
	if err != nil {
		return answer{}, false
	}
	return got, json.Unmarshal(m.Data, &got) == nil
}

// roll asks those who have the lobby open which of the users they count, and returns the first answer.
func (a *actor) roll(ids ...string) (got answer, ok bool) {
	a.mu.Lock()
	name := a.name
	a.mu.Unlock()
	m, err := a.nc.Request("headcount.live."+roomToken("lobby"), encode(shout{Node: name, Roll: ids}), time.Second)
	if err != nil {
		return answer{}, false
	}
	return got, json.Unmarshal(m.Data, &got) == nil
}

// saidBy returns the last that the node said of the lobby.
func (a *actor) saidBy(n *node) entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(a.said) - 1; i >= 0; i-- {
		if e := a.said[i]; strings.HasPrefix(e.ID, n.cluster.Tag()+"-") {
			return e
		}
	}
	return entry{}
}

// awaitSaid waits until the last that the node said is as it should be, and returns it.
func (a *actor) awaitSaid(n *node, what string, ok func(entry) bool) entry {
	a.t.Helper()
	rig.Wait(a.t, 5*time.Second, what, func() bool { return ok(a.saidBy(n)) })
	return a.saidBy(n)
}

// asksFor returns what it was asked of that user.
func (a *actor) asksFor(id string) []ask {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []ask
	for _, q := range a.asks {
		if q.Claim == id {
			list = append(list, q)
		}
	}
	return list
}

// reply has it answer from now on.
func (a *actor) reply(answers func(ask) *answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers = answers
}

// receive takes what another goroutine has found out.
func receive[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(5 * time.Second):
		t.Fatalf("waited in vain for: %s", what)
	}
	return v
}

// cursor is what somebody comes with who has been on the actor's node.
func (a *actor) cursor(id string) string {
	epoch, rest, _ := strings.Cut(id, ".")
	seq, _, _ := strings.Cut(rest, ".")
	return epoch + "." + seq + "." + a.tag + ".1"
}
