package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/hub"
)

// few is how many messages of a stream are read one by one. For more messages a consumer is cheaper.
const few = 8

// readEvents returns the events of a subject from a sequence on, at least up to the end in info, and the sequence of
// the last one, 0 if there is none. count is the number of events of the subject.
func (n *Node) readEvents(ctx context.Context, s jetstream.Stream, info *jetstream.StreamInfo, subject string, from, count uint64) (events []hub.Event, last uint64, err error) {
	take := func(data []byte, seq uint64, at time.Time) {
		last, from = seq, seq+1
		if e, ok := n.parse(data, seq, at); ok {
			events = append(events, e)
		}
	}
	single := min(count, few)
	if n.drifts(info) {
		single = count // only the leader returns single messages, but any server may have the consumer
	}
	for {
		for range single {
			m, err := s.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return events, last, nil
			}
			if err != nil {
				return nil, 0, err
			}
			take(m.Data, m.Sequence, m.Time)
		}
		if single == count || last >= info.State.LastSeq {
			return events, last, nil
		}
		err = n.replay(ctx, s, subject, from, take)
		if err != nil || last >= info.State.LastSeq {
			return events, last, err
		}
		// There may be more events than a consumer reports as pending. NATS 2.9 was seen to report one too few.
	}
}

// replay reads the messages of a subject from a sequence on with a consumer. It waits for one of n.replays, because
// NATS allows at most 1000 consumers of a stream, of all nodes together.
func (n *Node) replay(ctx context.Context, s jetstream.Stream, subject string, from uint64, take func(data []byte, seq uint64, at time.Time)) error {
	done, err := slot(ctx, n.replays)
	if err != nil {
		return err
	}
	defer done()
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
		InactiveThreshold: 10 * time.Second, MaxResetAttempts: 1,
	})
	if err != nil {
		return err
	}
	defer func() { // otherwise NATS deletes it after InactiveThreshold
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		_ = s.DeleteConsumer(ctx, c.CachedInfo().Name)
	}()
	pending := c.CachedInfo().NumPending
	messages, err := c.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for pending > 0 {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		take(m.Data(), meta.Sequence.Stream, meta.Timestamp)
		pending = meta.NumPending
	}
	return nil
}
