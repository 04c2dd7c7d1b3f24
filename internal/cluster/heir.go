package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A node that stops still counts those who are on their way to another one, and those
// who have a lease. It hands them over to its heir, a node that has the room open: that
// one counts them, hears their goodbyes, and gives them up to where they arrive. So the
// count is the true one also while nobody can ask the node that has stopped.

const (
	handing  = time.Second // how long the users of all rooms may take
	maxHeirs = 3           // how many nodes are asked, and how often an heir may have one itself
)

// handOver hands the users of all rooms over, and says the last word of each. Nobody
// else changes who is counted any more.
func (n *Node) handOver() {
	ctx, cancel := context.WithTimeout(context.Background(), handing)
	defer cancel()
	n.hear(n.onMessage)
	var running sync.WaitGroup
	for _, r := range n.open() {
		running.Go(func() {
			if done, err := slot(ctx, n.own.requests); err == nil {
				r.handOver(ctx)
				done()
			}
			r.tally.say()
		})
	}
	running.Wait()
}

// hear takes all messages that wait.
func (n *Node) hear(take func(*nats.Msg)) {
	for {
		select {
		case m := <-n.inbox:
			take(m)
		default:
			return
		}
	}
}

// passOn has the heir hear what came for users while they were handed over. It may have
// heard it before it had them.
func (n *Node) passOn(m *nats.Msg) {
	switch {
	case !strings.HasPrefix(m.Subject, n.names.lives):
		n.onMessage(m) // a claim is told who the heir is
	case m.Header.Get(jetstream.SequenceHeader) == "":
		_ = n.nc.PublishMsg(&nats.Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data})
	}
}

// handOver hands the users of the room over, if there is a node to take them. Those that
// are left stay in the last word until this node is taken for dead.
func (r *room) handOver(ctx context.Context) {
	n, t := r.node, &r.tally
	ids := n.table.Named(r.name)
	if len(ids) == 0 || !n.nc.IsConnected() {
		return
	}
	for _, heir := range t.heirs() {
		for part := range slices.Chunk(ids, most) {
			if err := r.bequeath(ctx, heir, part); err != nil {
				n.log.Debug("users were not handed over", "room", r.name, "node", heir, "error", err)
				break
			}
			ids = ids[len(part):]
		}
		if len(ids) == 0 {
			return
		}
	}
}

// bequeath hands users over to a node.
func (r *room) bequeath(ctx context.Context, heir string, ids []string) error {
	n, t := r.node, &r.tally
	will := make(map[string]float64, len(ids))
	for _, id := range ids {
		will[id] = max(deadAfter, time.Until(n.table.Until(r.name, id))).Seconds()
	}
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	m, err := n.nc.RequestWithContext(ctx, n.names.direct(tagOf(heir)), encode(ask{Room: r.name, By: t.id(), Will: will}))
	if err != nil {
		return err
	}
	var a answer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if a.Entry == "" {
		return fmt.Errorf("%s does not have the room", heir)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		n.table.Drop(r.name, id) // streams that are open all the same end with this process
	}
	if a.Users > 0 { // others are counted there already
		t.mine.Out[a.Entry] += a.Users
	}
	t.mine.Heir = tagOf(heir)
	return nil
}

// heirs returns the nodes that may take users over, the most likely to stay first.
func (t *tally) heirs() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for name, e := range t.others {
		if !e.Closed && e.Heir == "" && t.node.alive(name) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(t.others[b].Users, t.others[a].Users), cmp.Compare(a, b))
	})
	return names[:min(len(names), maxHeirs)]
}

// inherit takes the users of a node that stops over.
func (n *Node) inherit(a ask) answer {
	r := n.room(a.Room)
	if r == nil {
		return answer{}
	}
	entry, users := r.tally.inherit(a.By, a.Will, time.Now())
	if users > 0 {
		r.tally.changed(0)
		n.local.Recount(r.name)
	}
	return answer{Entry: entry, Users: users}
}

// inherit returns the entry that the users are in from now on, "" if they are in none,
// and how many were not counted here before.
func (t *tally) inherit(by string, will map[string]float64, now time.Time) (entry string, users int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.mute || t.waits {
		return "", 0
	}
	for id, seconds := range will {
		if t.node.table.Has(t.room.name, id) {
			continue
		}
		if !t.node.table.Take(t.room.name, id) {
			t.node.local.Expect(t.room.name, id, now.Add(time.Duration(seconds*float64(time.Second))))
		}
		users++
	}
	if users > 0 {
		t.mine.In[by] += users
	}
	return t.mine.ID, users
}

// heirOf returns the tag of the node that has taken the users of the one with that tag
// over, or that very tag.
func (t *tally) heirOf(tag string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range maxHeirs {
		last := t.lastOf(tag)
		if last.Heir == "" {
			break
		}
		tag = last.Heir
	}
	return tag
}

func (t *tally) heir() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mine.Heir
}
