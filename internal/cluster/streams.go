package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/engine"
)

const (
	keyLife  = engine.KeyLife // how long an idempotency key is kept
	replicas = 3              // if NATS has that many servers
	growing  = time.Minute    // between two attempts to increase the replicas
)

// streams holds the JetStream streams. They work with NATS 2.9 and later.
type streams struct {
	events, shared jetstream.Stream
}

func (n *Node) eventsConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              n.names.events(),
		Description:       "headcount: emitted events",
		Subjects:          []string{n.names.emit(">")},
		Storage:           jetstream.FileStorage,
		MaxAge:            max(n.opt.HistoryAge, keyLife), // keys expire with the events
		MaxMsgsPerSubject: int64(n.opt.History),
		Duplicates:        keyLife,
		RePublish:         &jetstream.RePublish{Source: n.names.emit(">"), Destination: n.names.live(">")},
	}
}

// sharedConfig returns the configuration of a KV bucket, as NATS makes it.
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

// shareKey starts to use the hash key from the bucket. If there is none, it stores its own key or a new one.
func (n *Node) shareKey(ctx context.Context, shared jetstream.Stream) error {
	m, err := shared.GetLastMsgForSubject(ctx, n.names.entry("key"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		key := []byte(cmp.Or(string(n.sets.currentKey()), rand.Text()))
		// If several nodes do this at the same time, NATS accepts only the first.
		_, _ = n.js.PublishMsg(ctx, &nats.Msg{Subject: n.names.entry("key"), Data: key}, jetstream.WithExpectLastSequencePerSubject(0))
		m, err = shared.GetLastMsgForSubject(ctx, n.names.entry("key"))
	}
	if err != nil {
		return fmt.Errorf("read the key of hashes: %w", err)
	}
	n.useKey(m.Data)
	return nil
}

// provide finds the streams and makes missing ones. It returns the state of the stream of events.
func (n *Node) provide(ctx context.Context) (*jetstream.StreamInfo, error) {
	grow := time.Since(n.grown) >= growing
	if grow {
		n.grown = time.Now()
	}
	var s streams
	var err error
	if s.events, err = n.provideOne(ctx, n.eventsConfig(), grow); err == nil {
		s.shared, err = n.provideOne(ctx, n.sharedConfig(), grow)
	}
	if err != nil {
		return nil, withCure(err)
	}
	n.streams.Store(&s)
	return s.events.CachedInfo(), n.shareKey(ctx, s.shared)
}

// withCure explains why there are no streams. It adds advice for a NATS without JetStream, whose own error is "no responders available for request".
func withCure(err error) error {
	for _, missing := range []error{nats.ErrNoResponders, jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount} {
		if errors.Is(err, missing) {
			return fmt.Errorf("NATS has no JetStream, or not yet; start it with nats-server -js, and allow it to the account: %w", err)
		}
	}
	return fmt.Errorf("provide streams: %w", err)
}

// provideOne returns an existing stream or makes it. It raises the limits of an existing stream to those of this node,
// and its replicas if there are enough servers.
func (n *Node) provideOne(ctx context.Context, want jetstream.StreamConfig, grow bool) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s, err := n.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return n.create(ctx, want)
	}
	if err != nil {
		return nil, err
	}
	have := s.CachedInfo()
	grown := have.Config
	if grown.MaxAge > 0 {
		grown.MaxAge = max(grown.MaxAge, want.MaxAge)
	}
	if grown.MaxMsgsPerSubject > 0 {
		grown.MaxMsgsPerSubject = max(grown.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	}
	if grown.MaxAge != have.Config.MaxAge || grown.MaxMsgsPerSubject != have.Config.MaxMsgsPerSubject {
		if s, err = n.js.UpdateStream(ctx, grown); err != nil {
			return nil, err
		}
		n.log.Info("stream limits raised", "stream", want.Name, "age", grown.MaxAge, "per_room", grown.MaxMsgsPerSubject)
	}
	if grow && grown.Replicas < replicas && have.Cluster != nil && have.Cluster.Name != "" {
		// The stream was made while there were fewer servers.
		grown.Replicas = replicas
		if more, err := n.js.UpdateStream(ctx, grown); err == nil {
			n.log.Info("stream replicas raised", "stream", want.Name, "replicas", replicas)
			s = more
		}
	}
	return s, nil
}

func (n *Node) create(ctx context.Context, want jetstream.StreamConfig) (s jetstream.Stream, err error) {
	for _, want.Replicas = range []int{replicas, 1} {
		s, err = n.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return n.js.Stream(ctx, want.Name) // another node was faster
		}
		if err == nil {
			n.log.Info("stream created", "stream", want.Name, "replicas", want.Replicas)
			return s, nil
		}
	}
	return nil, err
}

// epochOf returns the epoch of a stream's sequence. A stream that is made again starts at 1 again. The sequence of a
// stream that drifts changes its meaning with each leader.
func (n *Node) epochOf(info *jetstream.StreamInfo) string {
	epoch := strconv.FormatInt(info.Created.UnixNano(), 36)
	if n.drifts(info) {
		leader := fnv.New32a()
		leader.Write([]byte(info.Cluster.Leader))
		epoch += "-" + strconv.FormatUint(uint64(leader.Sum32()), 36)
	}
	return epoch
}

// drifts reports whether the servers of the stream may number its events differently. Old NATS servers do so after a
// leader was cut off from the others. It reports messages as stored that the others do not have, and later finds other
// messages at these sequences.
func (n *Node) drifts(info *jetstream.StreamInfo) bool {
	if v := n.nc.ConnectedServerVersion(); v != "" { // otherwise there is no connection now
		n.unsound.Store(isUnsound(v))
	}
	return n.unsound.Load() && info.Config.Replicas > 1 && info.Cluster != nil
}

// isUnsound reports whether the servers of that version of NATS, such as 2.9.10 or 2.14.0-preview.1, may number events
// differently, see docs/decisions/0031.
func isUnsound(version string) bool {
	var major, minor int
	_, err := fmt.Sscanf(version, "%d.%d.", &major, &minor)
	return err == nil && major == 2 && minor < 11 // a fork may have its own version numbers
}
