package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	beatEvery = time.Second
	deadAfter = 4 * time.Second // unheard of
	forgotten = time.Hour       // when the name of a dead node may be forgotten
)

// beat says once a second that this node is alive, and finds out who is not.
func (n *Node) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	n.mu.Lock()
	n.beaten = time.Now()
	n.mu.Unlock()
	for {
		now := time.Now()
		n.expire(now)
		n.beatOnce(now)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (n *Node) beatOnce(now time.Time) {
	if !n.nc.IsConnected() {
		return
	}
	n.mu.Lock()
	late := now.Sub(n.beaten) >= deadAfter
	n.mu.Unlock()
	if late {
		// The others have taken this node for dead while it was away or frozen.
		n.comeBack()
	}
	if n.nc.PublishMsg(n.sign()) == nil {
		n.mu.Lock()
		n.beaten = now
		n.mu.Unlock()
	}
}

// sign is the sign of life of this node.
func (n *Node) sign() *nats.Msg {
	return &nats.Msg{Subject: n.names.beat(n.Name()), Data: encode(beat{Interval: beatEvery.Seconds()})}
}

// Name is what the other nodes know this one by.
func (n *Node) Name() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}

// comeBack gives this node a new name. Its old entries are void, and so is what the
// others took from them; the new ones come once it is known who has gone elsewhere.
func (n *Node) comeBack() {
	n.mu.Lock()
	n.lives++
	n.name = fmt.Sprintf("%s-%d", n.tag, n.lives)
	name := n.name
	n.beaten = time.Now()
	n.mu.Unlock()
	n.log.Warn("taken for dead by the other nodes; coming back", "node", name)
	for _, r := range n.open() {
		r.tally.begin(n.entryID(), true)
		n.tasks.add(r.comeBack)
	}
}

// entryID names an opening of a room.
func (n *Node) entryID() string {
	return fmt.Sprintf("%s-%d", n.Name(), n.openings.Add(1))
}

// onBeat hears of a node.
func (n *Node) onBeat(name string, now time.Time) {
	n.mu.Lock()
	if name == n.name || tagOf(name) == n.tag {
		n.mu.Unlock()
		return
	}
	if _, dead := n.dead[name]; dead {
		n.mu.Unlock()
		_ = n.nc.Publish(n.names.direct(tagOf(name)), encode(ask{Dead: name}))
		return
	}
	last, known := n.heard[name]
	if now.After(last) {
		n.heard[name] = now
	}
	before := ""
	for other := range n.heard {
		if other != name && tagOf(other) == tagOf(name) {
			before = other // the same process, come back
			delete(n.heard, other)
			n.dead[other] = now
		}
	}
	if !known {
		n.publishPeers()
	}
	n.mu.Unlock()
	if before != "" {
		n.bury(before)
	}
	if !known {
		n.log.Info("node is there", "node", name)
		n.recountWith(name)
	}
}

// readBeats takes those for alive that the bucket has: who starts need not wait a
// second for the others.
func (n *Node) readBeats(ctx context.Context) error {
	nodes := n.streams.Load().nodes
	info, err := nodes.Info(ctx, jetstream.WithSubjectFilter(n.names.allBeats()))
	if err != nil {
		return fmt.Errorf("read nodes: %w", err)
	}
	now := info.TimeStamp // by the clock of NATS, as what follows
	beats := make(map[string]time.Time)
	for subject := range info.State.Subjects {
		m, err := nodes.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read node: %w", err)
		}
		beats[lastWord(subject)] = m.Time
		if now.Before(m.Time) {
			now = m.Time
		}
	}
	for name, at := range beats {
		// All nodes should take a dead one for dead at the same time.
		if age := now.Sub(at); age < deadAfter {
			n.onBeat(name, time.Now().Add(-age))
		}
	}
	return nil
}

func (n *Node) isDead(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, dead := n.dead[name]
	return dead
}

// subjects lists what a stream has under a pattern.
func subjects(ctx context.Context, s jetstream.Stream, pattern string) ([]string, error) {
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(pattern))
	if err != nil {
		return nil, err
	}
	var list []string
	for subject := range maps.Keys(info.State.Subjects) {
		list = append(list, subject)
	}
	return list, nil
}

// expire takes the nodes for dead that were not heard of for too long.
func (n *Node) expire(now time.Time) {
	var gone []string
	n.mu.Lock()
	late, connected := now.Sub(n.beaten) >= deadAfter, n.nc.IsConnected()
	for name, at := range n.heard {
		switch {
		case late && connected:
			// This node was frozen or away itself, and has to listen first.
			n.heard[name] = now
		case now.Sub(at) >= deadAfter:
			delete(n.heard, name)
			gone = append(gone, name)
			if connected {
				n.dead[name] = now
			}
		}
	}
	for name, at := range n.dead {
		if now.Sub(at) >= forgotten {
			delete(n.dead, name)
		}
	}
	if len(gone) > 0 {
		n.publishPeers()
	}
	n.mu.Unlock()
	for _, name := range gone {
		n.log.Warn("node is dead", "node", name)
		n.bury(name)
	}
}

// bury forgets what a node has said under a name.
func (n *Node) bury(name string) {
	for _, r := range n.open() {
		if r.tally.bury(name) {
			n.local.Recount(r.name)
			r.tally.changed(0)
		}
	}
}

// publishPeers makes who is alive known; n.mu is held.
func (n *Node) publishPeers() {
	peers := make(map[string]struct{}, len(n.heard))
	for name := range n.heard {
		peers[name] = struct{}{}
	}
	n.peers.Store(&peers)
}

// recountWith recounts the rooms that the node has users in.
func (n *Node) recountWith(name string) {
	for _, r := range n.open() {
		if r.tally.knows(name) {
			n.local.Recount(r.name)
		}
	}
}

func (n *Node) alive(name string) bool {
	_, ok := (*n.peers.Load())[name]
	return ok
}

// peer returns the name under which the node with that tag is alive, or "".
func (n *Node) peer(tag string) string {
	for name := range *n.peers.Load() {
		if tagOf(name) == tag {
			return name
		}
	}
	return ""
}

// silent says that the node was not heard of for longer than it should.
func (n *Node) silent(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Since(n.heard[name]) > 2*beatEvery
}

// Nodes returns all nodes that are alive, this one included, and how long ago each was
// last heard of.
func (n *Node) Nodes() map[string]time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	nodes := map[string]time.Duration{n.name: 0}
	for name, at := range n.heard {
		nodes[name] = time.Since(at)
	}
	return nodes
}

// listenToBeats looks at the signs of life of the others.
func (n *Node) listenToBeats(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-n.beats:
			n.onBeat(lastWord(m.Subject), time.Now())
		}
	}
}

// receive looks at every message but these and the answers.
func (n *Node) receive(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-n.inbox:
			n.onMessage(m)
		}
	}
}

func (n *Node) onMessage(m *nats.Msg) {
	lives, entries := n.names.lives, n.names.entries
	switch {
	case strings.HasPrefix(m.Subject, lives):
		if r := n.roomOf(m.Subject[len(lives):]); r != nil {
			n.onLive(r, m)
		}
	case strings.HasPrefix(m.Subject, entries):
		if token, name, ok := strings.Cut(m.Subject[len(entries):], "."); ok {
			n.onCount(token, name, m.Data)
		}
	case m.Subject == "": // see hearUp
		if handled, ok := n.marks.LoadAndDelete(m); ok {
			close(handled.(chan struct{}))
		}
	default:
		n.onAsk(m)
	}
}

func (n *Node) roomOf(token string) *room {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tokens[token]
}

// onAsk answers another node.
func (n *Node) onAsk(m *nats.Msg) {
	var a ask
	if err := json.Unmarshal(m.Data, &a); err != nil {
		n.log.Warn("message of another node is not well formed", "error", err)
		return
	}
	switch {
	case a.Dead != "":
		if a.Dead == n.Name() {
			n.comeBack()
		}
	case a.Claim != "":
		if a.To != "" && a.To != n.Name() {
			// It has waited while this node was frozen and taken for dead. Who claimed the
			// user has forgotten it by now; that it is there, its answer to the roll says.
			return
		}
		n.respond(m, n.giveUp(a))
	case a.Will != nil:
		n.respond(m, n.inherit(a))
	case a.Has != nil:
		var have []string
		for _, id := range a.Has {
			if n.table.Has(a.Room, id) || n.retakes(a.Room, id, a.By) {
				have = append(have, id)
			}
		}
		n.respond(m, answer{Node: n.Name(), IDs: have})
	}
}

func (n *Node) respond(m *nats.Msg, a answer) {
	if m.Reply == "" {
		return
	}
	if err := m.Respond(encode(a)); err != nil && !errors.Is(err, nats.ErrReconnectBufExceeded) {
		n.log.Debug("answer did not go out", "error", err)
	}
}
