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

	"headcount/internal/hub"
	"headcount/internal/presence"
)

const (
	patience = 2 * time.Second  // for an answer of NATS
	probing  = 2 * time.Second  // between two looks at the stream
	doubt    = 10 * time.Second // how long a stream that ends too early may be an error
	inbox    = 64 << 10         // messages that may wait to be looked at
	requests = 32               // requests to NATS of rooms under way at once; of strangers a quarter of that
	replays  = 4                // consumers at once; of strangers likewise
)

// errAway is what everything that needs NATS says without it.
var errAway = errors.New("NATS is away")

// errUnreached is what holds at the start.
var errUnreached = fmt.Errorf("%w; it has not been reached yet", errAway)

// Local is this node's own side.
type Local interface {
	// Recount says that the count of the room may have changed.
	Recount(room string)
	// Renew renews the leases of those ids that have a stream or a lease here, and
	// returns them.
	Renew(room string, ids []string) []string
	// Expect counts an id until a time at least, unless it leaves before.
	Expect(room, id string, until time.Time)
}

// Node is this node in the cluster. It is the [hub.Source] of its hub.
type Node struct {
	opt       Options
	log       *slog.Logger
	names     names
	tag       string // of this process, in cursors
	secrets   []string
	dialer    dialer
	nc        *nats.Conn
	js        jetstream.JetStream
	inbox     chan *nats.Msg
	marks     sync.Map       // in the inbox: what is to be closed behind all that came before
	beats     chan *nats.Msg // apart: who is slow to look at the rest must not take others for dead
	trouble   chan struct{}  // the connection came, went or lost something
	own       limits         // of the rooms that are open
	strangers limits         // of others that somebody asks about
	rolls     chan struct{}  // of rooms that come back: who has gone elsewhere?

	hub   *hub.Hub
	table *presence.Table
	local Local

	streams  atomic.Pointer[streams]             // nil until NATS was first reached
	epoch    atomic.Pointer[string]              // "" until then
	peers    atomic.Pointer[map[string]struct{}] // who is alive, besides this node
	settled  atomic.Uint64                       // where the stream ended a look before the last
	versions atomic.Uint64                       // of entries
	openings atomic.Uint64                       // of rooms
	unsound  atomic.Bool                         // NATS is too old to be trusted as a cluster, see drifts

	tasks  tasks
	reads  reads
	said   confirms
	behind time.Time // since when the stream has ended too early; for tend alone
	probed uint64    // where the stream ended at the last look; likewise
	grown  time.Time // when more replicas were last asked for; likewise

	mu      sync.Mutex
	name    string // as others see it: the tag, and how often it came back from the dead
	lives   int
	rooms   map[string]*room // by name
	tokens  map[string]*room
	leaving map[string]*room     // those that have not told the others yet that they are gone
	heard   map[string]time.Time // from which node when last
	dead    map[string]time.Time // who is taken for dead since when
	beaten  time.Time            // when this node was last heard of itself
	synced  bool                 // since the connection came
	state   error                // why this node is not ready, nil if it is
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
		opt: opt, log: opt.Log, names: newNames(opt.Prefix),
		tag:       strings.ToLower(rand.Text()[:8]),
		secrets:   secrets(urls),
		inbox:     make(chan *nats.Msg, inbox),
		beats:     make(chan *nats.Msg, inbox/16),
		trouble:   make(chan struct{}, 1),
		own:       limits{make(chan struct{}, requests), make(chan struct{}, replays)},
		strangers: limits{make(chan struct{}, requests/4), make(chan struct{}, replays/4)},
		rolls:     make(chan struct{}, replays),
		rooms:     make(map[string]*room),
		tokens:    make(map[string]*room),
		leaving:   make(map[string]*room),
		heard:     make(map[string]time.Time),
		dead:      make(map[string]time.Time),
		state:     errUnreached,
	}
	n.tasks.more = make(chan struct{}, 1)
	n.name = n.tag + "-0"
	n.epoch.Store(new(string))
	n.peers.Store(&map[string]struct{}{})
	if err := n.connect(urls, opts); err != nil {
		return nil, scrub(err, n.secrets)
	}
	return n, nil
}

// Tag names the node in cursors.
func (n *Node) Tag() string { return n.tag }

// Bind says whose events and users these are. It is called once, before anything else
// but Tag.
func (n *Node) Bind(h *hub.Hub, t *presence.Table, local Local) {
	n.hub, n.table, n.local = h, t, local
}

// Run does everything that others have to be told or asked, until ctx is done. It hands
// its users over then, and closes the connection; what this node last said stays valid
// until its name expires, so that those on their way elsewhere stay counted.
func (n *Node) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { n.tasks.run(ctx) })
	running.Go(func() { n.receive(ctx) })
	running.Go(func() { n.listenToBeats(ctx) })
	running.Go(func() { n.beat(ctx) })
	n.tend(ctx)
	running.Wait()
	n.handOver()
	if n.nc.IsConnected() {
		_ = n.nc.FlushTimeout(patience)
		n.hear(n.passOn)
		// Those of its users whom nobody has taken over count until it is taken for dead. They were told
		// to come back within 3 s: a whole deadAfter from now is long enough, one from the last sign of
		// life may not be.
		_ = n.nc.PublishMsg(n.sign())
		_ = n.nc.FlushTimeout(patience)
		n.hear(n.passOn)
	}
	n.nc.Close()
}

// tend keeps this node in step with what NATS holds.
func (n *Node) tend(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var probed time.Time
	subscribed := false
	var chasing atomic.Bool
	for {
		if n.nc.IsConnected() {
			if !subscribed {
				subscribed = n.listen()
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
			n.sweep()
			if !chasing.Load() {
				chasing.Store(true)
				n.tasks.add(func(ctx context.Context) {
					defer chasing.Store(false)
					n.chase(ctx)
				})
			}
		} else {
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

// listen subscribes to what concerns the node as a whole.
func (n *Node) listen() bool {
	_, err := n.nc.ChanSubscribe(n.names.allBeats(), n.beats)
	if err == nil {
		_, err = n.nc.ChanSubscribe(n.names.direct(n.tag), n.inbox)
	}
	return err == nil
}

// sync finds the streams, and brings everything that this node has open up to date.
func (n *Node) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	n.mu.Lock()
	n.synced = true // until something is lost again, which may be while this runs
	n.mu.Unlock()
	tip := n.hub.Tip() // before the question: it moves on meanwhile
	info, err := n.provide(ctx)
	if err == nil {
		err = n.readBeats(ctx)
	}
	if err == nil {
		err = n.enter(info, tip)
	}
	if err != nil {
		n.lost()
		return err
	}
	n.beatOnce(time.Now()) // who comes next finds it in the bucket
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
	tip := n.hub.Tip()
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

// enter takes over the stream's epoch and its last sequence; tip is how far it was
// known to be before it was asked. Where it is another stream than before, or one that
// has lost its last events, the rooms begin anew.
func (n *Node) enter(info *jetstream.StreamInfo, tip uint64) error {
	epoch, last := n.epochOf(info), info.State.LastSeq
	old := n.Epoch()
	if epoch == old && last >= tip {
		n.behind = time.Time{}
		n.settled.Store(n.probed)
		n.probed = last
		n.hub.Advance(last)
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
	n.hub.Reset(epoch, last)
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

// Watch is for [hub.Source].
func (n *Node) Watch(h *hub.Room) {
	r := newRoom(n, h)
	n.mu.Lock()
	r.before = n.leaving[r.name]
	r.tally.waits = r.before != nil
	n.rooms[r.name], n.tokens[r.token] = r, r
	n.mu.Unlock()
	n.tasks.add(r.begin)
}

// Unwatch is for [hub.Source].
func (n *Node) Unwatch(h *hub.Room) {
	n.mu.Lock()
	r := n.rooms[h.Name()]
	delete(n.rooms, h.Name())
	if r != nil {
		delete(n.tokens, r.token)
		n.leaving[r.name] = r
	}
	n.mu.Unlock()
	if r != nil {
		n.tasks.add(r.close)
	}
}
