package cluster

import (
	"context"
	"crypto/rand"
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
	to, server := info.State.LastSeq, ""
	if n.drifts(info) {
		server = info.Cluster.Leader
	}
	take := func(data []byte, seq uint64, at time.Time) {
		last, from = seq, seq+1
		if e, ok := n.parse(data, seq, at); ok {
			events = append(events, e)
		}
	}
	for {
		for range min(count, few) {
			m, err := s.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return events, last, nil
			}
			if err != nil {
				return nil, 0, err
			}
			take(m.Data, m.Sequence, m.Time)
		}
		if count <= few || last >= to {
			return events, last, nil
		}
		err = replay(ctx, n.replays, s, server, jetstream.ConsumerConfig{
			FilterSubject: subject, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
		}, func(m jetstream.Msg, meta *jetstream.MsgMetadata) bool {
			take(m.Data(), meta.Sequence.Stream, meta.Timestamp)
			return true
		})
		if err != nil || last >= to {
			return events, last, err
		}
		// There may be more events than a consumer reports as pending. NATS 2.9 was seen to report one too few.
	}
}

// replay reads the messages of a stream that config selects, until take needs no more. It makes a consumer on that
// server, "" = any. It waits for one of slots, because NATS allows at most 1000 consumers of a stream, of all nodes
// together.
func replay(ctx context.Context, slots chan struct{}, s jetstream.Stream, server string, config jetstream.ConsumerConfig, take func(jetstream.Msg, *jetstream.MsgMetadata) (more bool)) error {
	done, err := slot(ctx, slots)
	if err != nil {
		return err
	}
	defer done()
	c, forget, err := consume(ctx, s, server, config)
	if err != nil {
		return err
	}
	defer forget()
	pending, got := c.CachedInfo().NumPending, uint64(0)
	for pending > 0 {
		batch, err := c.Fetch(int(min(pending, 500)), jetstream.FetchMaxWait(patience))
		if err != nil {
			return err
		}
		before, enough := got, false
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			// A message that came too late for one fetch is not sent again with the next.
			if got++; meta.Sequence.Consumer != got {
				return errors.New("messages of NATS were lost on the way")
			}
			pending = meta.NumPending
			enough = !take(m, meta) || enough
		}
		if err := batch.Error(); err != nil {
			return err
		}
		if got == before {
			return errors.New("NATS sends nothing of what it has")
		}
		if enough {
			break
		}
	}
	return nil
}

// consume makes a consumer on that server, and returns a function that deletes it.
func consume(ctx context.Context, s jetstream.Stream, server string, config jetstream.ConsumerConfig) (c jetstream.Consumer, forget func(), err error) {
	config.AckPolicy, config.Replicas, config.MemoryStorage = jetstream.AckNonePolicy, 1, true
	config.InactiveThreshold = 10 * time.Second
	ask, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	for {
		name := "headcount-" + rand.Text()
		forget = func() { // otherwise NATS deletes it soon; it may exist although the request failed
			gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			_ = s.DeleteConsumer(gone, name)
		}
		config.Name = name
		if c, err = s.CreateConsumer(ask, config); err != nil {
			forget()
			return nil, nil, err
		}
		at := c.CachedInfo().Cluster
		if server == "" || at == nil || at.Leader == server {
			return c, forget, nil
		}
		forget() // NATS chooses one of the servers that have the stream at random
	}
}
