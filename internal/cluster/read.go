package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/hub"
)

// few is how many messages of a stream are read one by one. For more messages a consumer is cheaper.
const few = 8

// stretch is the part of a room's events from some sequence on.
type stretch struct {
	events []hub.Event
	link   uint64 // sequence of the last event, 0 if there is none
	upTo   uint64 // there are no other events up to here
	lost   uint64 // NATS has dropped events up to here, of which some may be the room's
	at     time.Time
}

// read returns the events of a subject after a sequence. Up to there they were known at the time before, zero if never.
func (n *Node) read(ctx context.Context, subject string, last uint64, before time.Time) (got stretch, err error) {
	s := n.streams.Load()
	if s == nil {
		return got, errAway
	}
	ctx, cancel := context.WithTimeout(ctx, 5*timeout)
	defer cancel()
	info, err := n.infoOf(ctx, s.events, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return got, err
	}
	got.at = time.Now()
	if info.State.Subjects[subject] > 0 && info.State.LastSeq > last {
		if got.events, got.link, err = n.readEvents(ctx, s.events, info, subject, last+1); err != nil {
			return got, err
		}
	}
	if n.drifts(info) { // this response may come from another server than the first one
		if _, err := n.infoOf(ctx, s.events); err != nil {
			return got, err
		}
	}
	if len(got.events) > 0 { // the clocks of NATS and of this node may differ, and either may jump
		now := n.timeOfNATS(ctx, info, got.at)
		for i := range got.events {
			got.events[i].Time = got.at.Add(got.events[i].Time.Sub(now))
		}
	}
	got.upTo = max(info.State.LastSeq, got.link)
	// Events below the stream's first sequence were dropped, either because of their age or to make room for later
	// events of their rooms. No event since before can be too old yet if that is not long ago.
	if age := info.Config.MaxAge; before.IsZero() || age > 0 && got.at.Round(0).Sub(before) >= age {
		got.lost = max(info.State.FirstSeq, 1) - 1
	}
	if limit := info.Config.MaxMsgsPerSubject; limit > 0 && len(got.events) >= int(limit) {
		got.lost = got.events[0].Seq - 1
	}
	return got, nil
}

// infoOf requests the state of the stream, and checks that it is still the same stream.
func (n *Node) infoOf(ctx context.Context, events jetstream.Stream, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	info, err := events.Info(ctx, opts...)
	if err == nil && n.epochOf(info) != n.Epoch() {
		n.lost()
		err = errStale
	}
	return info, err
}

// timeOfNATS returns the time on the clock of NATS when the response was received.
func (n *Node) timeOfNATS(ctx context.Context, info *jetstream.StreamInfo, received time.Time) time.Time {
	if !info.TimeStamp.IsZero() {
		return info.TimeStamp
	}
	// NATS before 2.10 does not send its time. It sends a time when it stores a message.
	stored := time.Now()
	var m *jetstream.RawStreamMsg
	_, err := n.js.PublishMsg(ctx, &nats.Msg{Subject: n.names.entry("clock")})
	if err == nil {
		m, err = n.streams.Load().shared.GetLastMsgForSubject(ctx, n.names.entry("clock"))
	}
	if err != nil {
		n.log.Debug("time of NATS unknown", "error", err)
		return received // assume that the clocks agree
	}
	return m.Time.Add(received.Sub(stored))
}

// readEvents returns the events of a subject from a sequence on, at least up to the end in info, and the sequence of
// the last one, 0 if there is none.
func (n *Node) readEvents(
	ctx context.Context, s jetstream.Stream, info *jetstream.StreamInfo, subject string, from uint64,
) (events []hub.Event, last uint64, err error) {
	take := func(data []byte, seq uint64, at time.Time) {
		last, from = seq, seq+1
		if e, ok := n.parse(data, seq, at); ok {
			events = append(events, e)
		}
	}
	for i := 0; last < info.State.LastSeq; i++ {
		// Any server may have the consumer, but the leader returns the single messages.
		if i == few && !n.drifts(info) {
			n.replays <- struct{}{}
			err := replay(ctx, s, subject, from, take)
			<-n.replays
			if err != nil {
				return nil, 0, err
			}
			continue // there may be more than the consumer reports as pending; NATS 2.9 was seen to report one too few
		}
		m, err := s.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		take(m.Data, m.Sequence, m.Time)
	}
	return events, last, nil
}

// replay reads the messages of a subject from a sequence on with a consumer. NATS allows at most 1000 consumers of a
// stream, of all nodes together, so a node has few at a time.
func replay(ctx context.Context, s jetstream.Stream, subject string, from uint64, take func([]byte, uint64, time.Time)) error {
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
