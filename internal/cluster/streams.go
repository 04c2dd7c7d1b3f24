package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/engine"
)

const (
	keyLife  = engine.KeyLife // how long an idempotency key is remembered
	replicas = 3              // where NATS has as many servers
	growing  = time.Minute    // between two attempts to have as many
)

// streams is what is kept in JetStream. Nothing in it needs a NATS newer than 2.9.
type streams struct {
	events, shared jetstream.Stream
}

func (n *Node) eventsConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              n.names.events(),
		Description:       "headcount: emitted events",
		Subjects:          []string{n.names.emit(">")},
		Storage:           jetstream.FileStorage,
		MaxAge:            max(n.opt.HistoryAge, keyLife), // keys live no longer than events
		MaxMsgsPerSubject: int64(n.opt.History),
		Duplicates:        keyLife,
		RePublish:         &jetstream.RePublish{Source: n.names.emit(">"), Destination: n.names.live(">")},
	}
}

// sharedConfig is a KV bucket as NATS makes it.
func (n *Node) sharedConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              n.names.shared(),
		Description:       "headcount: what all nodes share",
		Subjects:          []string{n.names.entry(">")},
		Storage:           jetstream.FileStorage,
		MaxMsgsPerSubject: 1,
		Duplicates:        keyLife,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		DenyDelete:        true,
	}
}

// shareKey begins to use the key of hashes that is in the bucket. If there is none, one node puts its own there, or a new one.
func (n *Node) shareKey(ctx context.Context, shared jetstream.Stream) error {
	m, err := shared.GetLastMsgForSubject(ctx, n.names.entry("key"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		key := n.sets.currentKey()
		if key == nil {
			key = []byte(rand.Text())
		}
		// Of several at the same time, one is the first.
		_, _ = n.js.PublishMsg(ctx, &nats.Msg{Subject: n.names.entry("key"), Data: key}, jetstream.WithExpectLastSequencePerSubject(0))
		m, err = shared.GetLastMsgForSubject(ctx, n.names.entry("key"))
	}
	if err != nil {
		return fmt.Errorf("read the key of hashes: %w", err)
	}
	n.useKey(m.Data)
	return nil
}

// provide finds the streams, makes those that are missing, and returns what NATS says of the events.
func (n *Node) provide(ctx context.Context) (*jetstream.StreamInfo, error) {
	var s streams
	var err error
	grow := time.Since(n.grown) >= growing
	if grow {
		n.grown = time.Now()
	}
	for _, one := range []struct {
		stream *jetstream.Stream
		config jetstream.StreamConfig
	}{
		{&s.events, n.eventsConfig()},
		{&s.shared, n.sharedConfig()},
	} {
		if *one.stream, err = n.provideOne(ctx, one.config, grow); err != nil {
			return nil, fmt.Errorf("provide stream %s: %w", one.config.Name, withCure(err))
		}
	}
	n.streams.Store(&s)
	return s.events.CachedInfo(), n.shareKey(ctx, s.shared)
}

// withCure says what to do about a NATS that has no JetStream. Its own error is "no responders available for request".
func withCure(err error) error {
	for _, missing := range []error{nats.ErrNoResponders, jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount} {
		if errors.Is(err, missing) {
			return fmt.Errorf("NATS has no JetStream, or not yet; start it with nats-server -js, and allow it to the account: %w", err)
		}
	}
	return err
}

// provideOne returns the stream as it is if there is one, but lets it keep as much as this node wants to keep, on as
// many servers as it should.
func (n *Node) provideOne(ctx context.Context, want jetstream.StreamConfig, grow bool) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := n.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return n.create(ctx, want)
	}
	if err != nil {
		return nil, err
	}
	have := s.CachedInfo().Config
	grown := have
	if have.MaxAge > 0 {
		grown.MaxAge = max(have.MaxAge, want.MaxAge)
	}
	if have.MaxMsgsPerSubject > 0 {
		grown.MaxMsgsPerSubject = max(have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	}
	if grown.MaxAge != have.MaxAge || grown.MaxMsgsPerSubject != have.MaxMsgsPerSubject {
		if s, err = n.js.UpdateStream(ctx, grown); err != nil {
			return nil, err
		}
		n.log.Info("stream keeps more now", "stream", want.Name, "age", grown.MaxAge, "per_room", grown.MaxMsgsPerSubject)
	}
	if grow && grown.Replicas < replicas && s.CachedInfo().Cluster != nil && s.CachedInfo().Cluster.Name != "" {
		// It was made while fewer servers were there.
		grown.Replicas = replicas
		if more, err := n.js.UpdateStream(ctx, grown); err == nil {
			n.log.Info("stream has more replicas now", "stream", want.Name, "replicas", replicas)
			s = more
		}
	}
	return s, nil
}

func (n *Node) create(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	want.Replicas = replicas
	s, err := n.js.CreateStream(ctx, want)
	var refused *jetstream.APIError
	if errors.As(err, &refused) && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		want.Replicas = 1
		s, err = n.js.CreateStream(ctx, want)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return n.js.Stream(ctx, want.Name) // another node was faster
	}
	if err == nil {
		n.log.Info("stream made", "stream", want.Name, "replicas", want.Replicas)
	}
	return s, err
}

// epochOf is what the sequence of a stream counts in: a stream that is made anew begins at 1 again, and one that drifts
// counts anew with each leader.
func (n *Node) epochOf(info *jetstream.StreamInfo) string {
	epoch := strconv.FormatInt(info.Created.UnixNano(), 36)
	if n.drifts(info) {
		leader := fnv.New32a()
		leader.Write([]byte(info.Cluster.Leader))
		epoch += "-" + strconv.FormatUint(uint64(leader.Sum32()), 36)
	}
	return epoch
}

// drifts says that the servers that have the stream may each number its events in their own way, as those of an old
// NATS do once a leader was cut off from the others: it has taken for stored what they have not, and later finds some
// of theirs there already.
func (n *Node) drifts(info *jetstream.StreamInfo) bool {
	if v := n.nc.ConnectedServerVersion(); v != "" { // else there is no connection now
		n.unsound.Store(older(v, firstSound))
	}
	return n.unsound.Load() && info.Config.Replicas > 1 && info.Cluster != nil
}

// firstSound is the first NATS whose servers agree, see docs/decisions/0031.
var firstSound = [3]int{2, 11, 0}

// older compares a version such as 2.9.10 or 2.14.0-preview.1.
func older(version string, than [3]int) bool {
	var v [3]int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil {
		return false // a fork, with numbers of its own
	}
	return slices.Compare(v[:], than[:]) < 0
}
