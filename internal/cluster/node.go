package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/engine"
	"headcount/internal/hub"
)

const (
	patience = 2 * time.Second  // for an answer of NATS
	probing  = 2 * time.Second  // between two looks at the stream
	doubt    = 10 * time.Second // how long a stream that ends too early may be an error
	inbox    = 64 << 10         // messages that may wait to be looked at
	requests = 32               // requests to NATS at once
	replays  = 4                // consumers at once
)

// errAway is what everything that needs NATS says without it.
var errAway = errors.New("NATS is away")

// errUnreached is what holds at the start.
var errUnreached = fmt.Errorf("%w; it has not been reached yet", errAway)

// Node is this node in the cluster, the [engine.Backend] of its engine.
type Node struct {
	opt      Options
	log      *slog.Logger
	names    names
	tag      string // of this process, in cursors
	secrets  []string
	dialer   dialer
	nc       *nats.Conn
	js       jetstream.JetStream
	inbox    chan *nats.Msg
	trouble  chan struct{} // the connection came, went or lost something
	requests chan struct{}
	replays  chan struct{}

	local engine.Local
	sets  sets

	streams atomic.Pointer[streams] // nil until NATS was first reached
	epoch   atomic.Pointer[string]  // "" until then
	settled atomic.Uint64           // where the stream ended a look before the last
	unsound atomic.Bool             // NATS is too old to be trusted as a cluster, see drifts

	tasks  tasks
	said   confirms
	behind time.Time // since when the stream has ended too early; for tend alone
	probed uint64    // where the stream ended at the last look; likewise
	grown  time.Time // when more replicas were last asked for; likewise

	mu     sync.Mutex
	rooms  map[string]*room // by name
	tokens map[string]*room
	synced bool  // since the connection came
	state  error // why this node is not ready, nil if it is
}

// New connects to NATS, or keeps trying to: it fails only if the options are wrong.
func New(opt Options) (*Node, error) {
	if opt.Prefix == "" {
		opt.Prefix = "headcount"
	}
	if opt.History == 0 {
		opt.History = 1000
	}
	if opt.HistoryAge == 0 {
		opt.HistoryAge = 10 * time.Minute
	}
	if opt.Name == "" {
		opt.Name = strings.ToLower(rand.Text()[:8])
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if err := opt.Check(); err != nil {
		return nil, err
	}
	urls, opts, err := opt.servers()
	if err != nil {
		return nil, err
	}
	n := &Node{
		opt: opt, log: opt.Log, names: newNames(opt.Prefix), tag: opt.Name,
		secrets:  secrets(urls),
		inbox:    make(chan *nats.Msg, inbox),
		trouble:  make(chan struct{}, 1),
		requests: make(chan struct{}, requests),
		replays:  make(chan struct{}, replays),
		rooms:    make(map[string]*room),
		tokens:   make(map[string]*room),
		state:    errUnreached,
	}
	n.tasks.more, n.sets.more = make(chan struct{}, 1), make(chan struct{}, 1)
	n.sets.reset(n, nil)
	n.epoch.Store(new(string))
	if err := n.connect(urls, opts); err != nil {
		return nil, scrub(err, n.secrets)
	}
	return n, nil
}

// Tag names the node in cursors, and to the others.
func (n *Node) Tag() string { return n.tag }

// Bind says whose backend this is. The engine does it once, before anything else but Tag.
func (n *Node) Bind(local engine.Local) { n.local = local }

// Run does everything that happens in the background, until ctx is done. Then it says goodbye and asks the others to keep
// this node's users while they come back elsewhere, unless Release was called.
func (n *Node) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { n.tasks.run(ctx) })
	running.Go(func() { n.receive(ctx) })
	running.Go(func() { n.tick(ctx) })
	running.Go(func() { n.send(ctx) })
	n.tend(ctx)
	running.Wait()
	n.stop()
	n.nc.Close()
	return nil
}

// tend keeps this node in step with what NATS holds.
func (n *Node) tend(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var probed, connected time.Time
	for {
		if n.nc.IsConnected() {
			if connected.IsZero() {
				connected = time.Now()
			}
			n.mu.Lock()
			synced := n.synced
			n.mu.Unlock()
			switch {
			case !synced:
				n.report(n.sync(ctx))
			case time.Since(probed) >= probing:
				n.report(n.probe(ctx))
				probed = time.Now()
			}
			if time.Since(connected) >= 2*patience {
				n.useKey(nil)
			}
			n.sweep()
		} else {
			connected = time.Time{}
			n.report(n.away())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-n.trouble:
		}
	}
}

// sync finds the streams, and brings everything that this node has open up to date.
func (n *Node) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	n.mu.Lock()
	n.synced = true // until something is lost again, which may be while this runs
	n.mu.Unlock()
	tip := n.local.Hub.Tip() // before the question: it moves on meanwhile
	info, err := n.provide(ctx)
	if err == nil {
		err = n.enter(info, tip)
	}
	if err != nil {
		n.lost()
		return err
	}
	n.log.Info("in step with NATS", "server", n.nc.ConnectedAddr(), "epoch", n.Epoch())
	if n.drifts(info) {
		n.log.Warn("with this NATS each new leader of a cluster is an io:gap for all readers; use a newer one", "version", n.nc.ConnectedServerVersion())
	}
	for _, r := range n.open() {
		n.tasks.add(r.refresh)
	}
	return nil
}

// probe asks where the stream is, and makes what somebody has deleted.
func (n *Node) probe(ctx context.Context) error {
	tip := n.local.Hub.Tip()
	info, err := n.provide(ctx)
	if err == nil {
		err = n.enter(info, tip)
	}
	if err != nil {
		// Whoever answers next may be another one, with something missed in between.
		n.lost()
		return err
	}
	return nil
}

// enter takes over the stream's epoch and its last sequence; tip is how far it was known to be before it was asked. Where
// it is another stream than before, or one that has lost its last events, the rooms begin anew.
func (n *Node) enter(info *jetstream.StreamInfo, tip uint64) error {
	epoch, last := n.epochOf(info), info.State.LastSeq
	old := n.Epoch()
	if epoch == old && last >= tip {
		n.behind = time.Time{}
		n.settled.Store(n.probed)
		n.probed = last
		n.local.Hub.Advance(last)
		return nil
	}
	if epoch == old {
		// A server that is cut off from the others may answer, too, for a while.
		if n.behind.IsZero() {
			n.behind = time.Now()
		}
		if time.Since(n.behind) < doubt {
			return fmt.Errorf("stream %s ends at %d, and has been at %d", n.names.events(), last, tip)
		}
	}
	n.behind = time.Time{}
	if old != "" {
		n.log.Warn("the stream has lost events or is another one; readers are told by an io:gap",
			"epoch", epoch, "epoch_before", old, "last", last, "last_before", tip)
	}
	n.settled.Store(0)
	n.probed = 0
	n.epoch.Store(&epoch)
	for _, r := range n.open() {
		r.feed.forget() // what is under way is of the old stream
	}
	n.local.Hub.Reset(epoch, last)
	for _, r := range n.open() {
		r.feed.forget()
		n.tasks.add(r.refresh)
	}
	return nil
}

// report keeps why the node is not ready, and logs it when it changes.
func (n *Node) report(err error) {
	err = scrub(err, n.secrets)
	n.mu.Lock()
	was := n.state
	n.state = err
	n.mu.Unlock()
	switch {
	case err == nil && was != nil:
		n.log.Info("NATS is there")
	case err != nil && (was == nil || errors.Is(was, errUnreached)):
		n.log.Warn("not ready", "error", err)
	}
}

// Epoch is what the stream's sequence counts in, "" until NATS was first reached.
func (n *Node) Epoch() string { return *n.epoch.Load() }

// Ready returns why this node is not one with the others, or nil.
func (n *Node) Ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state
}

// open returns the rooms that this node has open.
func (n *Node) open() []*room {
	n.mu.Lock()
	defer n.mu.Unlock()
	rooms := make([]*room, 0, len(n.rooms))
	for _, r := range n.rooms {
		rooms = append(rooms, r)
	}
	return rooms
}

func (n *Node) room(name string) *room {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rooms[name]
}

func (n *Node) roomOf(token string) *room {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tokens[token]
}

// receive looks at every message but the answers.
func (n *Node) receive(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-n.inbox:
			if token, ok := strings.CutPrefix(m.Subject, n.names.lives); !ok {
				n.onSets(m)
			} else if r := n.roomOf(token); r != nil {
				n.onLive(r, m)
			}
		}
	}
}

// Await prepares for a reader of an open room, with the cursor that it came with: it waits, but not for long, until the
// room's history and the other nodes' users are known.
func (n *Node) Await(ctx context.Context, name, cursor string) {
	c, ok := hub.ParseCursor(cursor)
	// Emitted a moment ago, on another node: this one is about to hear of it.
	unknown := ok && c.Epoch != "" && c.Epoch == n.Epoch() && c.Seq > n.local.Hub.Tip() && !n.tell(ctx, c.Seq)
	r := n.room(name)
	if r == nil {
		return
	}
	r.wait(ctx)
	if unknown {
		r.feed.hub.Expect(c.Seq)
	}
}

// tell reports whether it can be told by now if the stream has got as far as seq.
func (n *Node) tell(ctx context.Context, seq uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	s := n.streams.Load()
	if s == nil || !n.nc.IsConnected() {
		return false
	}
	info, err := s.events.Info(ctx)
	if err == nil && n.epochOf(info) == n.Epoch() {
		n.local.Hub.Advance(info.State.LastSeq)
	}
	if err == nil && seq > n.local.Hub.Tip() {
		// Who says so may be a server that is cut off from the others: it can answer, and store nothing.
		_, err = n.js.PublishMsg(ctx, &nats.Msg{Subject: n.names.entry("clock")})
	}
	if err != nil {
		n.log.Debug("cursor may be ahead", "error", err)
	}
	return err == nil
}
