package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"headcount/internal/hub"
	"headcount/internal/presence"
)

const (
	claimTime = 150 * time.Millisecond // how long a node may take to answer
	shoutTime = 250 * time.Millisecond // how long all may take
)

// claim is a user that was claimed from a node that has not answered.
type claim struct {
	id    string
	tag   string // of the node
	entry string // of that node
}

// Arrive prepares for a reader of the room, with the client id, or "", and the cursor
// that it came with: it waits until the room is loaded, but not for long, and claims
// the user where the cursor says that it was. count is called to count it, at the
// moment from which on it is not counted there.
func (n *Node) Arrive(ctx context.Context, name, id, cursor string, count func()) error {
	if n.Epoch() == "" {
		return n.Ready()
	}
	epoch, seq, node, ok := hub.CursorOf(cursor)
	if ok && epoch == n.Epoch() && seq > n.hub.Tip() {
		// Emitted a moment ago, on another node: this one is about to hear of it.
		ctx, cancel := context.WithTimeout(ctx, longest)
		if err := n.look(ctx); err != nil {
			n.log.Debug("cursor may be ahead", "error", err)
		}
		cancel()
	}
	r := n.room(name)
	if r == nil {
		return errors.New("room is not open")
	}
	r.wait(ctx)
	if id == "" {
		r.tally.arrive(count, nil, "", "")
		return nil
	}
	came, unsure := n.claim(ctx, r, id, node)
	r.tally.arrive(count, unsure, id, came)
	return nil
}

// look asks where the stream is now.
func (n *Node) look(ctx context.Context) error {
	s := n.streams.Load()
	if s == nil || !n.nc.IsConnected() {
		return errAway
	}
	info, err := s.events.Info(ctx)
	if err == nil && epochOf(info) == n.Epoch() {
		n.hub.Advance(info.State.LastSeq)
	}
	return err
}

// arrive counts a user, with the entry that it came from if there is one.
func (t *tally) arrive(count func(), unsure *claim, id, from string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case from != "" && t.there(from):
		t.mine.In[from]++
	case id != "":
		t.joined = append(t.joined, id)
	}
	if unsure != nil {
		t.unsure = append(t.unsure, *unsure)
	}
	count()
}

// there says that the entry is another node's, as far as is known; t.mu is held.
func (t *tally) there(id string) bool {
	for _, e := range t.others {
		if e.ID == id {
			return !e.Closed
		}
	}
	return true // it has not been heard of yet
}

// claim asks the node of that tag to give a user up, and returns the entry that the
// user came from, "" if it was not counted there. A node that does not answer had it,
// as far as one can tell: it says that it has users, and this one was among them.
func (n *Node) claim(ctx context.Context, r *room, id, tag string) (from string, unsure *claim) {
	if tag == "" || tag == n.tag || len(tag) != len(n.tag) {
		return "", nil
	}
	if name := n.peer(tag); name != "" && !n.silent(name) {
		a, err := n.ask(ctx, r, id, tag)
		if err == nil {
			return a.Entry, nil
		}
	}
	if from = r.tally.entryOf(tag); from == "" {
		return "", nil
	}
	return from, &claim{id: id, tag: tag, entry: from}
}

// ask claims a user. The answer names an entry only if the user was counted there.
func (n *Node) ask(ctx context.Context, r *room, id, tag string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	var a answer
	m, err := n.nc.RequestWithContext(ctx, n.names.direct(tag), encode(ask{Room: r.name, Claim: id, By: r.tally.id()}))
	if err != nil {
		return a, err
	}
	err = json.Unmarshal(m.Data, &a)
	if !a.Had {
		a.Entry = ""
	}
	return a, err
}

func (t *tally) id() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mine.ID
}

// entryOf returns the last entry of the process with that tag if it has users. It may
// be dead: where that is not known yet, its users are still counted.
func (t *tally) entryOf(tag string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var last entry
	for name, e := range t.others {
		if tagOf(name) == tag && e.Version > last.Version {
			last = e
		}
	}
	if last.Closed || last.Users == 0 {
		return ""
	}
	return last.ID
}

// giveUp answers the claim of another node.
func (n *Node) giveUp(name, id, by string) answer {
	r := n.room(name)
	if r == nil {
		return answer{Node: n.Name()}
	}
	t := &r.tally
	t.mu.Lock()
	counted, left := n.table.Drop(name, id)
	if counted {
		t.mine.Out[by]++
	}
	a := answer{Node: n.Name(), Had: counted, Entry: t.mine.ID}
	t.mu.Unlock()
	end(left)
	if counted {
		t.changed(lag)
		n.local.Recount(name)
	}
	return a
}

func end(streams []presence.Stream) {
	for _, s := range streams {
		s.Left()
	}
}

// chase repeats the claims that were not answered, and asks for users that were
// yielded whether they are still where they went.
func (n *Node) chase(ctx context.Context) {
	dead := n.longDead()
	for _, r := range n.open() {
		r.tally.forget(dead)
		unsure, yielded := r.tally.open()
		for _, c := range unsure {
			if name := n.peer(c.tag); name == "" || n.silent(name) {
				continue // it will be taken for dead, or speak up
			}
			if a, err := n.ask(ctx, r, c.id, c.tag); err == nil {
				r.tally.settle(c, a.Entry)
				n.local.Recount(r.name)
				r.tally.changed(0)
			}
		}
		for name, ids := range yielded {
			if n.retake(ctx, r, name, ids) {
				n.local.Recount(r.name)
				r.tally.changed(0)
			}
		}
	}
}

// remembered is how long the entries of a dead node are kept.
const remembered = 15 * time.Second

// longDead returns whether a node that is not alive has been dead for long. Of those
// that this node forgot while it was away itself, nobody knows.
func (n *Node) longDead() func(string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	young := make(map[string]bool)
	for name, at := range n.dead {
		if time.Since(at) < remembered {
			young[name] = true
		}
	}
	return func(name string) bool { return !young[name] }
}

// open returns the claims without an answer, and the yielded ids by who took them.
func (t *tally) open() (unsure []claim, yielded map[string][]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.yielded) > 0 {
		yielded = make(map[string][]string)
		for id, name := range t.yielded {
			yielded[name] = append(yielded[name], id)
		}
	}
	return slices.Clone(t.unsure), yielded
}

// settle takes the answer to a claim that was taken for granted: the entry that the
// user was in until now, "" if none.
func (t *tally) settle(c claim, entry string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.unsure, c)
	if i < 0 {
		return
	}
	t.unsure = slices.Delete(t.unsure, i, i+1)
	if entry == c.entry {
		return
	}
	// The node had given the user up by itself, or has come back under a new name.
	if t.mine.In[c.entry]--; t.mine.In[c.entry] == 0 {
		delete(t.mine.In, c.entry)
	}
	if entry != "" {
		t.mine.In[entry]++
	}
}

// retake counts those again who have streams here and are not counted any more where
// they went.
func (n *Node) retake(ctx context.Context, r *room, name string, ids []string) bool {
	var has []string
	if n.alive(name) {
		ctx, cancel := context.WithTimeout(ctx, claimTime)
		defer cancel()
		m, err := n.nc.RequestWithContext(ctx, n.names.direct(tagOf(name)), encode(ask{Room: r.name, Has: ids}))
		if err != nil {
			return false
		}
		var a answer
		if json.Unmarshal(m.Data, &a) != nil {
			return false
		}
		has = a.IDs
	}
	t := &r.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	took := false
	for _, id := range ids {
		if !slices.Contains(has, id) {
			delete(t.yielded, id)
			took = n.table.Take(r.name, id) || took
		}
	}
	return took
}

// comeBack says who is here, after the others took this node for dead, once it is
// known who has gone elsewhere meanwhile.
func (r *room) comeBack(ctx context.Context) {
	n := r.node
	if err := r.readCounts(ctx); err != nil {
		n.log.Debug("room was not read", "room", r.name, "error", err)
	}
	t := &r.tally
	if others := t.populated(); others > 0 {
		for ids := range slices.Chunk(n.table.Named(r.name), 1000) {
			for _, a := range n.shout(ctx, r, shout{Node: n.Name(), Roll: ids}, others, nil) {
				t.mu.Lock()
				for _, id := range a.IDs {
					if _, open := n.table.Yield(r.name, id); open {
						if t.yielded == nil {
							t.yielded = make(map[string]string)
						}
						t.yielded[id] = a.Node
					}
				}
				t.mu.Unlock()
			}
		}
	}
	t.mu.Lock()
	t.mute = false
	t.mu.Unlock()
	t.again()
	n.local.Recount(r.name)
}

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
		n.local.Recount(r.name)
	case s.Alive != nil:
		n.respond(m, answer{Node: n.Name(), IDs: n.local.Renew(r.name, s.Alive)})
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
	n.shout(ctx, r, shout{Alive: ids}, others, func(a answer) bool {
		rest = slices.DeleteFunc(rest, func(id string) bool { return slices.Contains(a.IDs, id) })
		return len(rest) == 0
	})
	return rest
}

// Leave says goodbye for ids on whichever node they are.
func (n *Node) Leave(name string, ids []string) {
	if err := n.nc.Publish(n.names.live(token(name)), encode(shout{Leave: ids})); err != nil {
		n.log.Debug("goodbye did not go out", "error", err) // their streams end without
	}
}
