package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// apart is how many rooms are read each for itself where NATS has much of others.
	apart = 4
	// spare is how many entries that nobody wants may be read for each that is wanted.
	spare = 4
)

// reads is the rooms that wait for what the others have said of them. Those that come
// while NATS is being asked are asked for together: many nodes may open all their rooms
// at the same time, as when NATS comes back, and a consumer for each room is more than
// NATS can bear.
type reads struct {
	mu      sync.Mutex
	waiting []reading
	busy    bool // somebody is asking
}

// reading is a room that waits.
type reading struct {
	token string
	tell  func(name string, e entry) // takes an entry of another node
	done  chan<- error
}

// readCounts reads what all nodes have said of the room.
func (r *room) readCounts(ctx context.Context) error {
	n, done := r.node, make(chan error, 1)
	n.reads.mu.Lock()
	n.reads.waiting = append(n.reads.waiting, reading{r.token, func(name string, e entry) { n.onEntry(r, name, e) }, done})
	busy := n.reads.busy
	n.reads.busy = true
	n.reads.mu.Unlock()
	if !busy {
		n.tasks.add(n.readWaiting)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readWaiting reads until no room waits any more.
func (n *Node) readWaiting(ctx context.Context) {
	for {
		n.reads.mu.Lock()
		list := n.reads.waiting
		n.reads.waiting = nil
		n.reads.busy = len(list) > 0
		n.reads.mu.Unlock()
		if len(list) == 0 {
			return
		}
		whole, err := n.readWhole(ctx, list)
		var running sync.WaitGroup
		for _, w := range list {
			if whole || err != nil {
				w.done <- err
				continue
			}
			running.Go(func() { w.done <- n.readRoom(ctx, n.own, w.token, w.tell) })
		}
		running.Wait()
	}
}

// readWhole reads the whole bucket, if the rooms are many and it has not much more than
// what is said of them. It reports whether it has.
func (n *Node) readWhole(ctx context.Context, list []reading) (bool, error) {
	if len(list) <= apart {
		return false, nil
	}
	s := n.streams.Load()
	if s == nil {
		return false, errAway
	}
	ask, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	info, err := s.counts.Info(ask)
	if err != nil {
		return false, fmt.Errorf("ask for counts: %w", err)
	}
	nodes := uint64(len(*n.peers.Load()) + 1)
	if info.State.Msgs > spare*uint64(len(list))*nodes {
		return false, nil
	}
	if info.State.Msgs == 0 {
		return true, nil
	}
	wanted := make(map[string][]reading, len(list)) // a room may wait twice
	for _, w := range list {
		wanted[w.token] = append(wanted[w.token], w)
	}
	upTo := uint64(0)
	err = replay(ctx, n.own.replays, s.counts, "", jetstream.ConsumerConfig{FilterSubject: n.names.allCounts(), DeliverPolicy: jetstream.DeliverAllPolicy},
		func(m jetstream.Msg, meta *jetstream.MsgMetadata) (more bool) {
			token, _, _ := strings.Cut(m.Subject()[len(n.names.entries):], ".")
			for _, w := range wanted[token] {
				n.takeEntry(m.Subject(), m.Data(), w.tell)
			}
			upTo = meta.Sequence.Stream
			return upTo < info.State.LastSeq // what comes later is heard as it comes
		})
	if err != nil {
		return false, fmt.Errorf("read all counts: %w", err)
	}
	return upTo >= info.State.LastSeq, nil // or not all was sent, see readEvents
}

// readRoom reads what the bucket has of a room, and tells each entry of another node.
func (n *Node) readRoom(ctx context.Context, l limits, token string, tell func(name string, e entry)) error {
	done, err := slot(ctx, l.requests)
	if err != nil {
		return err
	}
	defer done()
	s := n.streams.Load()
	if s == nil {
		return errAway
	}
	pattern := n.names.count(token, "*")
	ask, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	keys, err := subjects(ask, s.counts, pattern)
	if err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	if len(keys) > few {
		left := make(map[string]struct{}, len(keys))
		for _, key := range keys {
			left[key] = struct{}{}
		}
		err := replay(ctx, l.replays, s.counts, "", jetstream.ConsumerConfig{
			FilterSubject: pattern, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		}, func(m jetstream.Msg, _ *jetstream.MsgMetadata) bool {
			n.takeEntry(m.Subject(), m.Data(), tell)
			delete(left, m.Subject())
			return true
		})
		if err != nil {
			return fmt.Errorf("read counts: %w", err)
		}
		keys = slices.Collect(maps.Keys(left)) // what was not sent, see readEvents
	}
	for _, key := range keys {
		m, err := s.counts.GetLastMsgForSubject(ask, key)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read count %s: %w", key, err)
		}
		n.takeEntry(key, m.Data, tell)
	}
	return nil
}

// takeEntry tells an entry of the bucket if it is another node's.
func (n *Node) takeEntry(key string, data []byte, tell func(name string, e entry)) {
	name := lastWord(key)
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		n.log.Warn("count of another node is not well formed", "node", name, "error", err)
		return
	}
	if tagOf(name) != n.tag {
		tell(name, e)
	}
}

// Users returns how many users the room has on all nodes. Of a room that this node
// does not have open it asks NATS; without NATS the answer is of this node alone.
func (n *Node) Users(ctx context.Context, name string) int {
	if r := n.room(name); r != nil {
		return r.tally.total()
	}
	here := n.table.Count(name)
	if !n.nc.IsConnected() {
		return here
	}
	list := []entry{{Users: here}}
	// Anybody may ask for any room: not where the rooms that are open would have to wait.
	err := n.readRoom(ctx, n.strangers, token(name), func(name string, e entry) {
		if n.alive(name) {
			list = append(list, e)
		}
	})
	if err != nil {
		n.log.Debug("count of the local users alone", "room", name, "error", err)
		return here
	}
	return max(sum(list, n.alive), here)
}
