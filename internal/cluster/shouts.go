package cluster

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/nats-io/nats.go"
)

// shout says something to all that have the room open and gathers their answers, until
// there are as many as there may be or enough says so.
func (n *Node) shout(ctx context.Context, r *room, s shout, most int, enough func(answer) bool) []answer {
	reply := nats.NewInbox()
	sub, err := n.nc.SubscribeSync(reply)
	if err != nil {
		return nil
	}
	defer func() { _ = sub.Unsubscribe() }()
	if n.nc.PublishRequest(n.names.live(r.token), reply, encode(s)) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shoutTime)
	defer cancel()
	var answers []answer
	for len(answers) < most {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			break
		}
		var a answer
		if json.Unmarshal(m.Data, &a) != nil {
			continue
		}
		answers = append(answers, a)
		if enough != nil && enough(a) {
			break
		}
	}
	return answers
}

// onShout hears what is for all that have the room open.
func (n *Node) onShout(r *room, m *nats.Msg) {
	var s shout
	if err := json.Unmarshal(m.Data, &s); err != nil {
		n.log.Warn("message of another node is not well formed", "error", err)
		return
	}
	switch {
	case s.Stored > 0:
		r.feed.onStored(s.Stored)
	case s.Leave != nil:
		for _, id := range s.Leave {
			n.table.Leave(r.name, id)
		}
		r.tally.passed(s.Leave)
		n.local.Recount(r.name)
		r.tally.changed(0)
	case s.Alive != nil:
		// Who has none of them is silent: at a sign of life every 25 s of each user behind a
		// balancer, all answers would be most of what goes over NATS.
		if known := n.local.Renew(r.name, s.Alive); len(known) > 0 {
			n.respond(m, answer{Node: n.Name(), IDs: known})
			n.local.Recount(r.name)
			r.tally.changed(0)
		}
	case s.Roll != nil:
		var ids []string
		t := &r.tally
		t.mu.Lock()
		mute := t.mute
		t.mu.Unlock()
		if !mute || n.Name() > s.Node { // of two that come back at once, one keeps it
			for _, id := range s.Roll {
				if n.table.Has(r.name, id) {
					ids = append(ids, id)
				}
			}
		}
		n.respond(m, answer{Node: n.Name(), IDs: ids})
	}
}

// Alive renews the leases of ids on whichever node they are, and returns those that
// are on none.
func (n *Node) Alive(ctx context.Context, name string, ids []string) []string {
	r := n.room(name)
	if r == nil || !n.nc.IsConnected() {
		return ids
	}
	r.wait(ctx)
	others := r.tally.populated()
	if others == 0 {
		return ids
	}
	rest := slices.Clone(ids)
	// Of ids that nobody has, no answer says so: that takes shoutTime.
	n.shout(ctx, r, shout{Alive: ids}, others, func(a answer) bool {
		rest = slices.DeleteFunc(rest, func(id string) bool { return slices.Contains(a.IDs, id) })
		return len(rest) == 0
	})
	return rest
}

// Leave says goodbye for ids on whichever node they are.
func (n *Node) Leave(name string, ids []string) {
	if r := n.room(name); r != nil {
		r.tally.passed(ids)
	}
	if err := n.nc.Publish(n.names.live(token(name)), encode(shout{Leave: ids})); err != nil {
		n.log.Debug("goodbye did not go out", "error", err) // their streams end without
	}
}
