package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/hub"
)

// few is how many messages of a stream are read one by one: more, and a consumer is
// worth making.
const few = 8

// readEvents returns the events of a subject from a sequence on, of which there are at
// most count, and the sequence of the last one, 0 if there is none.
func (n *Node) readEvents(ctx context.Context, s jetstream.Stream, subject string, from, count uint64) (events []hub.Event, last uint64, err error) {
	take := func(data []byte, seq uint64, at time.Time) {
		last = seq
		if e, ok := n.parse(data, seq, at); ok {
			events = append(events, e)
		}
	}
	for range min(count, few) {
		m, err := s.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return events, last, nil
		}
		if err != nil {
			return nil, 0, err
		}
		take(m.Data, m.Sequence, m.Time)
		from = m.Sequence + 1
	}
	if count <= few {
		return events, last, nil
	}
	err = replay(ctx, s, jetstream.ConsumerConfig{
		FilterSubject: subject, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
	}, func(m jetstream.Msg, meta *jetstream.MsgMetadata) {
		take(m.Data(), meta.Sequence.Stream, meta.Timestamp)
	})
	return events, last, err
}

// readCounts reads what the bucket has of a room, and tells each entry of another node.
func (n *Node) readCounts(ctx context.Context, slots chan struct{}, token string, tell func(name string, e entry)) error {
	done, err := slot(ctx, slots)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	s := n.streams.Load()
	if s == nil {
		return errAway
	}
	pattern := n.names.count(token, "*")
	keys, err := subjects(ctx, s.counts, pattern)
	if err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	take := func(key string, data []byte) {
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
	if len(keys) > few {
		err := replay(ctx, s.counts, jetstream.ConsumerConfig{
			FilterSubject: pattern, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		}, func(m jetstream.Msg, _ *jetstream.MsgMetadata) { take(m.Subject(), m.Data()) })
		if err != nil {
			return fmt.Errorf("read counts: %w", err)
		}
		return nil
	}
	for _, key := range keys {
		m, err := s.counts.GetLastMsgForSubject(ctx, key)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read count %s: %w", key, err)
		}
		take(key, m.Data)
	}
	return nil
}

// replay reads what a stream has now, as config says which, by a consumer that is made
// for it.
func replay(ctx context.Context, s jetstream.Stream, config jetstream.ConsumerConfig, take func(jetstream.Msg, *jetstream.MsgMetadata)) error {
	config.AckPolicy, config.Replicas, config.MemoryStorage = jetstream.AckNonePolicy, 1, true
	config.InactiveThreshold = 10 * time.Second
	c, err := s.CreateConsumer(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = s.DeleteConsumer(context.WithoutCancel(ctx), c.CachedInfo().Name) }() // else NATS does, soon
	pending, got := c.CachedInfo().NumPending, uint64(0)
	for pending > 0 {
		batch, err := c.Fetch(int(min(pending, 500)), jetstream.FetchMaxWait(patience))
		if err != nil {
			return err
		}
		before := got
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			// What has come too late for one fetch is not sent again with the next.
			if got++; meta.Sequence.Consumer != got {
				return errors.New("messages of NATS were lost on the way")
			}
			pending = meta.NumPending
			take(m, meta)
		}
		if err := batch.Error(); err != nil {
			return err
		}
		if got == before {
			return errors.New("NATS sends nothing of what it has")
		}
	}
	return nil
}
