package cluster

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"headcount/internal/cluster/union"
	"headcount/internal/engine"
	"headcount/internal/lockorder"
)

const (
	tickEvery = 20 * time.Millisecond
	renewTime = 250 * time.Millisecond // by then a node has announced who has come to it
	maxQueue  = 64 << 10               // messages that may wait to be sent
	batch     = 64 << 10               // bytes of messages that go out as one
	busy      = 64                     // messages that wait to be applied; whole sets take some milliseconds each
)

// sets is the machine of this node and its ordered queue of work for NATS.
type sets struct {
	jobs *queue[job]
	subs []*nats.Subscription // to the messages for all nodes and for this node; only for send

	mu       lockorder.Mutex[lockorder.Sets]
	machine  *union.Machine
	key      []byte // nil: not known yet
	subjects string // first words of the subjects, see names.sets
	released bool
}

// job is work for NATS. It is a message to send, or a function.
type job struct {
	subject string
	message union.Message
	do      func()
}

// reset makes a machine with another key. maxPayload is the largest payload that NATS takes.
func (s *sets) reset(n *Node, key []byte, maxPayload int64) {
	s.key, s.subjects = key, n.names.sets(key)
	s.machine = union.New(union.Options{
		Node: n.opt.Name, Incarnation: uint64(time.Now().UnixNano()), Key: key, Chunk: chunk(maxPayload),
		HasStream: func(token, id string) bool {
			r := n.roomOf(token)
			return r != nil && n.users.HasStream(r.name, id)
		},
		Busy: func() bool { return len(n.inbox) > busy },
	})
}

// chunk returns how many users fit into a message, at 21 bytes each in a Kept message.
func chunk(maxPayload int64) int { return int(min(50_000, maxPayload/25)) }

// together returns how many bytes of messages may wait for one more, to go out as one payload.
func together(maxPayload int64) int { return int(min(batch, maxPayload/16)) }

func (s *sets) currentKey() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.key
}

// apply calls do with the machine, queues the resulting messages and reports the other effects to the engine. do removes
// the effects that the engine knows already.
func (n *Node) apply(do func(m *union.Machine, now time.Time) union.Effects) {
	s := &n.sets
	s.mu.Lock()
	e := do(s.machine, time.Now())
	if s.jobs.prune(maxQueue, func(j job) bool { return j.do == nil }) {
		signal(n.rejoined) // NATS does not take the messages; the other nodes will request the sets
	}
	for _, out := range e.Send { // all of them, because a node that stops has a message for each room
		s.jobs.add(job{subject: subject(s.subjects, out.To), message: out.Message})
	}
	s.mu.Unlock()
	for _, token := range e.Ready {
		if r := n.roomOf(token); r != nil {
			r.known.close()
		}
	}
	for _, node := range e.Heard {
		n.log.Info("node joined", "node", node)
	}
	for _, node := range e.Silent {
		n.log.Warn("node expired", "node", node)
	}
	for _, c := range e.Changes {
		if r := n.roomOf(c.Room); r != nil {
			c.Room = r.name
			c.Renewed = slices.DeleteFunc(c.Renewed, func(id string) bool { return !n.users.Has(r.name, id) })
			n.changes.add(engine.Change(c))
		}
	}
}

// Next waits until other nodes have changed something, and returns it in order.
func (n *Node) Next(ctx context.Context) ([]engine.Change, error) {
	list, err := n.changes.wait(ctx)
	listed := make(map[string]bool)
	list = slices.DeleteFunc(list, func(c engine.Change) bool {
		twice := listed[c.Room] && len(c.Renewed)+len(c.Left) == 0
		listed[c.Room] = true
		return twice // the engine asks for the room's count anyway
	})
	return list, err
}

// openSet opens the set of a room after the room's subscriptions.
func (n *Node) openSet(r *room) {
	n.apply(func(m *union.Machine, now time.Time) (e union.Effects) {
		if n.roomOf(r.token) != r {
			return e // it was closed while the key changed
		}
		sets := subject(n.sets.subjects, r.to())
		n.sets.jobs.add(job{do: func() { r.follow(sets) }})
		ids, anonymous := n.users.Members(r.name)
		e = m.Open(now, r.token, ids, anonymous)
		e.Changes = nil // the count may lack the other nodes, and the engine asks for it when it is known
		return e
	})
}

func (n *Node) closeSet(r *room) {
	n.apply(func(m *union.Machine, now time.Time) union.Effects {
		n.sets.jobs.add(job{do: func() { n.subscribe(&r.subs) }})
		return m.Close(now, r.token)
	})
}

// Changed tells the other nodes about changes of this node's users of the room. It returns how many users the room has
// on all nodes, as far as this node knows.
func (n *Node) Changed(room string) (users int) {
	token := token(room)
	n.apply(func(m *union.Machine, now time.Time) (e union.Effects) {
		if _, open := m.Count(token); !open {
			n.users.TakeChanges(room) // nobody needs them; the room opens with all its users
			users = n.users.Count(room)
			return e
		}
		left, joined, anonymous := n.users.TakeChanges(room)
		e = m.Local(now, token, left, joined, anonymous)
		users, _ = m.Count(token)
		return e
	})
	return users
}

// Count returns how many users the room has on all nodes. It waits a short time until they are known.
func (n *Node) Count(ctx context.Context, room string) int {
	h := n.hub.Open(room) // it stays open for a while, because the client may ask again
	defer n.hub.Close(h)
	if r := n.room(room); r != nil {
		r.wait(ctx, r.known)
	}
	return n.Changed(room)
}

// Leave removes the ids from the count on all nodes, now or after grace unless they reconnect before.
func (n *Node) Leave(room string, ids []string, grace time.Duration) {
	n.apply(func(m *union.Machine, now time.Time) union.Effects {
		e := m.Leave(now, token(room), ids, grace)
		e.Changes = nil // the engine has removed them itself, and counts again
		return e
	})
}

// Renew renews the leases of ids on the nodes that hold them, and returns the ids that no other node holds and that have
// not just said goodbye. An unknown id may have come to another node a moment ago, also after its goodbye, so it looks
// again when that node must have announced it.
func (n *Node) Renew(ctx context.Context, room string, ids []string) (unknown []string) {
	renew := func(m *union.Machine, now time.Time) (e union.Effects) {
		e, unknown = m.Renew(now, token(room), ids)
		return e
	}
	n.apply(renew)
	if r := n.room(room); len(unknown) > 0 && r != nil && n.nc.IsConnected() {
		r.wait(ctx, r.known)
		select {
		case <-ctx.Done():
		case <-time.After(renewTime):
		}
		ids = unknown
		n.apply(renew)
	}
	n.sets.mu.Lock()
	defer n.sets.mu.Unlock()
	return slices.DeleteFunc(unknown, func(id string) bool { return n.sets.machine.Gone(token(room), id) })
}

// onSets receives messages of other nodes about their users.
func (n *Node) onSets(m *nats.Msg) {
	for rest := m.Data; len(rest) > 0; {
		msg, more, err := union.Decode(rest)
		if err != nil {
			n.log.Warn("malformed message of another node", "error", err)
			return
		}
		rest = more
		n.apply(func(m *union.Machine, now time.Time) union.Effects { return m.Apply(now, msg) })
	}
}

// tick passes the time to the machine.
func (n *Node) tick(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.apply((*union.Machine).Tick)
		}
	}
}

// send does the queued work for NATS.
func (n *Node) send(ctx context.Context) {
	for {
		jobs, err := n.sets.jobs.wait(ctx)
		if err != nil {
			return
		}
		n.do(jobs)
	}
}

// do does work for NATS in order.
func (n *Node) do(jobs []job) {
	limit := together(n.nc.MaxPayload())
	var payload []byte
	for i, j := range jobs {
		if j.do != nil {
			j.do()
			continue
		}
		payload = union.Append(payload, j.message)
		if i+1 < len(jobs) && jobs[i+1].subject == j.subject && len(payload) < limit {
			continue // messages to the same nodes are sent together
		}
		if err := n.nc.Publish(j.subject, payload); err != nil {
			n.log.Debug("message not sent", "error", err) // the other nodes will request it
		}
		payload = nil
	}
}

// askKey asks the other nodes for the key, because JetStream does not answer. It returns nil if no node has a key.
func (n *Node) askKey(ctx context.Context) []byte {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if m, err := n.nc.RequestWithContext(ctx, n.names.key(), nil); err == nil && len(m.Data) > 0 {
		return m.Data
	}
	return nil
}

// useKey starts to use this key, from the bucket or another node. Without a key it uses the one that follows from the
// prefix, unless it already has a key. Then NATS has no JetStream, and no key can be stored.
func (n *Node) useKey(key []byte) {
	s := &n.sets
	had := s.currentKey()
	if key == nil && had == nil {
		sum := sha256.Sum256([]byte(n.names.prefix))
		key = sum[:]
	}
	if key == nil || slices.Equal(key, had) {
		return
	}
	sets := n.names.sets(key)
	n.log.Info("publishing users with this key", "subject", subject(sets, union.To{}))
	n.apply(func(*union.Machine, time.Time) union.Effects {
		s.reset(n, key, n.nc.MaxPayload())
		s.jobs.add(job{do: func() { n.listen(sets) }})
		return union.Effects{}
	})
	for _, r := range n.open() {
		n.openSet(r)
	}
	n.setConnected(n.nc.IsConnected())
}

// listen subscribes to the messages for all nodes and for this node, and to the question for the key.
func (n *Node) listen(sets string) {
	n.subscribe(&n.sets.subs, subject(sets, union.To{}), subject(sets, union.To{Node: n.opt.Name}), n.names.key())
}

// subscribe subscribes to these subjects, if any, instead of the earlier ones.
func (n *Node) subscribe(subs *[]*nats.Subscription, subjects ...string) {
	for _, sub := range *subs {
		_ = sub.Unsubscribe() // an error means that the connection is closed
	}
	*subs = nil
	for _, subject := range subjects {
		sub, err := n.nc.ChanSubscribe(subject, n.inbox)
		if err != nil {
			n.log.Warn("subscribe failed", "subject", subject, "error", err)
			return // the connection is closed
		}
		*subs = append(*subs, sub)
	}
}

// rejoin compares all sets, after messages were lost. What arrived before that is handled first.
func (n *Node) rejoin() {
	for range len(n.inbox) {
		n.handle(<-n.inbox)
	}
	n.setConnected(n.nc.IsConnected())
	n.apply((*union.Machine).Lost)
}

// setConnected tells the machine whether messages can be sent.
func (n *Node) setConnected(connected bool) {
	n.apply(func(m *union.Machine, now time.Time) union.Effects {
		return m.Connect(now, connected && n.sets.key != nil && !n.sets.released)
	})
}

// Release sends the last changes of this node's users, and nothing more, because another process continues under the
// same name. Run then ends without a goodbye. Emits still work until then.
func (n *Node) Release() {
	n.apply(func(m *union.Machine, now time.Time) union.Effects {
		e := m.Flush(now)
		m.Connect(now, false)
		n.sets.released = true
		return e
	})
}

// stop says goodbye to the other nodes.
func (n *Node) stop() {
	n.apply(n.goodbye)
	n.do(n.sets.jobs.take())
	if n.nc.IsConnected() {
		_ = n.nc.FlushTimeout(timeout)
	}
}

func (n *Node) goodbye(m *union.Machine, now time.Time) union.Effects {
	if n.sets.released {
		return union.Effects{}
	}
	return m.Stop(now, func(token, id string) time.Duration {
		if r := n.roomOf(token); r != nil {
			return n.users.Left(r.name, id, now, engine.HandoverWithin)
		}
		return 0
	})
}

// Nodes returns all nodes that are alive, including this one.
func (n *Node) Nodes() (list []engine.NodeStatus) {
	n.sets.mu.Lock()
	defer n.sets.mu.Unlock()
	for _, one := range n.sets.machine.Nodes(time.Now()) {
		list = append(list, engine.NodeStatus(one))
	}
	return list
}
