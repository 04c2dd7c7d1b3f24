package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/engine"
	"headcount/internal/hub"
	"headcount/internal/lockorder"
	"headcount/internal/presence"
)

const (
	timeout   = 2 * time.Second  // for a response of NATS
	probing   = 2 * time.Second  // between two requests for the state of the stream
	transient = 10 * time.Second // how long a stream that ends too early may be a temporary error
	inbox     = 64 << 10         // messages that may wait for receive
	requests  = 16               // rooms that are updated at the same time
	replays   = 4                // and of these, rooms that have a consumer
)

// errAway is the error of everything that needs NATS while NATS is away.
var errAway = errors.New("NATS is away")

// errUnreached is the error until the first connection.
var errUnreached = fmt.Errorf("%w; it has not been reached yet", errAway)

// Backend is NATS as an [engine.Backend].
type Backend struct {
	opt  Options
	nats []nats.Option // how it connects
}

// New returns a backend for one engine. It fails only if the options are wrong.
func New(opt Options) (*Backend, error) {
	opt.Prefix = cmp.Or(opt.Prefix, "headcount")
	opt.History = cmp.Or(opt.History, 1000)
	opt.HistoryAge = cmp.Or(opt.HistoryAge, 10*time.Minute)
	opt.Log = cmp.Or(opt.Log, slog.New(slog.DiscardHandler))
	if err := opt.Check(); err != nil {
		return nil, err
	}
	connection, err := opt.connection()
	return &Backend{opt, connection}, err
}

// Node is this node in the cluster. It is the [engine.Node] of its engine.
type Node struct {
	opt      Options
	log      *slog.Logger
	names    names
	begun    time.Time // when it first tried to connect
	nc       *nats.Conn
	js       jetstream.JetStream
	inbox    chan *nats.Msg
	rejoined chan struct{} // signals that the connection was made or lost messages
	trouble  chan struct{} // the same, or that the connection was lost

	hub     *hub.Hub
	users   *presence.Table
	sets    sets
	changes *queue[engine.Change] // by other nodes, for the engine
	stale   *queue[*room]         // rooms that may have missed events
	replays chan struct{}         // has an element for each consumer

	streams atomic.Pointer[streams] // nil until the first connection to NATS
	epoch   atomic.Pointer[string]  // "" until the first connection to NATS
	unsound atomic.Bool             // NATS is too old to be trusted as a cluster, see drifts
	refused atomic.Pointer[error]   // why the connection was lost, or the last attempt to connect failed
	state   atomic.Pointer[error]   // why this node is not ready, or nil
	synced  atomic.Bool             // reset when the connection loses messages

	confirms confirms
	behind   time.Time // start of the time in which the stream ended too early; only for tend
	grown    time.Time // last request for more replicas; only for tend

	mu    lockorder.Mutex[lockorder.Node]
	rooms map[string]*room // by token
}

// nameSize is the length of the name of a node.
const nameSize = 8

// Join makes this process a node. It connects to NATS in the background and keeps trying.
func (b *Backend) Join(rooms hub.Options, users *presence.Table) (*hub.Hub, engine.Node, error) {
	opt := b.opt
	if opt.Name == "" && len(rooms.Node) == nameSize { // otherwise the predecessor was no node
		opt.Name = rooms.Node
	}
	if opt.Name == "" {
		opt.Name = strings.ToLower(rand.Text()[:nameSize])
	}
	n := &Node{
		opt: opt, log: opt.Log, names: names{opt.Prefix}, begun: time.Now(),
		inbox:    make(chan *nats.Msg, inbox),
		rejoined: make(chan struct{}, 1),
		trouble:  make(chan struct{}, 1),
		users:    users,
		changes:  newQueue[engine.Change](),
		stale:    newQueue[*room](),
		replays:  make(chan struct{}, replays),
		rooms:    make(map[string]*room),
	}
	n.sets.jobs = newQueue[job]()
	n.sets.reset(n, nil, 0)
	n.epoch.Store(new(string))
	n.state.Store(&errUnreached)
	rooms.Source, rooms.Node = n, opt.Name
	n.hub = hub.New(rooms)
	return n.hub, n, n.connect(b.nats)
}

// Tag returns the name of the node in cursors and for other nodes.
func (n *Node) Tag() string { return n.opt.Name }

// Run does all background work until ctx is done. Then it says goodbye and asks the other nodes to keep this node's
// users while they reconnect elsewhere, unless Release was called.
func (n *Node) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { n.runUpdates(ctx) })
	running.Go(func() { n.receive(ctx) })
	running.Go(func() { n.tick(ctx) })
	running.Go(func() { n.send(ctx) })
	n.tend(ctx)
	running.Wait()
	n.stop()
	n.nc.Close()
	return nil
}

// tend keeps this node in sync with NATS.
func (n *Node) tend(ctx context.Context) {
	tick := time.NewTicker(time.Second / 2)
	defer tick.Stop()
	var probed, connected time.Time
	for {
		if n.nc.IsConnected() {
			if connected.IsZero() {
				connected = time.Now()
			}
			if !n.synced.Load() || time.Since(probed) >= probing {
				n.report(n.sync(ctx))
				probed = time.Now()
			}
			if n.sets.currentKey() == nil { // it is not in the bucket, or nobody answers for the bucket
				if key := n.askKey(ctx); key != nil || time.Since(connected) >= 2*timeout {
					n.useKey(key)
				}
			}
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

// sync requests the end of the stream, and creates what is missing. If messages may have been lost, it updates all rooms
// that this node has open.
func (n *Node) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*timeout)
	defer cancel()
	synced := n.synced.Swap(true) // reset when messages are lost, which may happen while this runs
	tip := n.hub.Tip()            // read it before the request, because it moves on during the request
	info, err := n.provide(ctx)
	if err == nil {
		err = n.enter(info, tip)
	}
	if err != nil {
		n.synced.Store(false) // another server may respond next, and messages may have been lost in between
		return err
	}
	if synced {
		return nil
	}
	n.log.Info("connected to NATS", "server", n.nc.ConnectedAddr(), "epoch", n.Epoch())
	if n.drifts(info) {
		n.log.Warn("this NATS is old; each new leader of its cluster is an io:gap for all subscribers", "version", n.nc.ConnectedServerVersion())
	}
	n.stale.add(n.open()...)
	return nil
}

// enter takes over the stream's epoch and its last sequence. tip is the known end of the stream before the request. If
// the stream was replaced or has lost its last events, all rooms start again.
func (n *Node) enter(info *jetstream.StreamInfo, tip uint64) error {
	epoch, last, old := n.epochOf(info), info.State.LastSeq, n.Epoch()
	if epoch == old && last < tip {
		// A server that is cut off from the others may still respond for a while.
		if n.behind.IsZero() {
			n.behind = time.Now()
		}
		if time.Since(n.behind) < transient {
			return fmt.Errorf("stream %s ends at %d, and has been at %d", n.names.events(), last, tip)
		}
	}
	n.behind = time.Time{}
	if epoch == old && last >= tip {
		n.hub.Advance(last)
		return nil
	}
	if old != "" {
		n.log.Warn("the stream has lost events or was replaced; subscribers get an io:gap",
			"epoch", epoch, "epoch_before", old, "last", last, "last_before", tip)
	}
	n.epoch.Store(&epoch)
	for _, r := range n.open() {
		r.feed.forget() // running requests belong to the old stream
	}
	n.hub.Reset(epoch, last)
	for _, r := range n.open() {
		r.feed.forget()
		n.stale.add(r)
	}
	return nil
}

// report stores why the node is not ready, and logs changes.
func (n *Node) report(err error) {
	was := *n.state.Swap(&err)
	switch {
	case err == nil && was != nil:
		n.log.Info("ready")
	case err != nil && (was == nil || errors.Is(was, errUnreached)):
		n.log.Warn("not ready", "error", err)
	}
}

// Epoch returns the epoch of the stream's sequence, "" until the first connection to NATS.
func (n *Node) Epoch() string { return *n.epoch.Load() }

// Ready returns why this node is not connected to the others, or nil.
func (n *Node) Ready() error { return *n.state.Load() }

// open returns the rooms that this node has open.
func (n *Node) open() []*room {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Values(n.rooms))
}

func (n *Node) room(name string) *room { return n.roomOf(token(name)) }

func (n *Node) roomOf(token string) *room {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rooms[token]
}

// receive handles all messages except responses.
func (n *Node) receive(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.rejoined:
			n.rejoin()
		case m := <-n.inbox:
			n.handle(m)
		}
	}
}

func (n *Node) handle(m *nats.Msg) {
	token, live := strings.CutPrefix(m.Subject, n.names.live(""))
	switch {
	case live:
		if r := n.roomOf(token); r != nil {
			n.onLive(r, m)
		}
	case m.Subject == n.names.key():
		_ = m.Respond(n.sets.currentKey()) // without an answer it asks again
	default:
		n.onSets(m)
	}
}

// Await prepares an open room for a subscriber with that cursor. It waits a short time until the room's history and the
// other nodes' users are known.
func (n *Node) Await(ctx context.Context, name, cursor string) {
	c, ok := hub.ParseCursor(cursor)
	// The event was emitted on another node a moment ago and has not arrived here yet.
	unknown := ok && c.Epoch != "" && c.Epoch == n.Epoch() && c.Seq > n.hub.Tip() && !n.askTip(ctx, c.Seq)
	r := n.room(name)
	if r == nil {
		return
	}
	r.wait(ctx, r.loaded, r.known)
	if unknown {
		r.feed.hub.Expect(c.Seq)
	}
}

// askTip asks NATS whether the stream has reached seq, and reports whether the answer is reliable.
func (n *Node) askTip(ctx context.Context, seq uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	s := n.streams.Load()
	if s == nil || !n.nc.IsConnected() {
		return false
	}
	info, err := s.events.Info(ctx)
	if err == nil && n.epochOf(info) == n.Epoch() {
		n.hub.Advance(info.State.LastSeq)
	}
	if err == nil && seq > n.hub.Tip() {
		// The response may come from a server that is cut off from the others. Such a server can respond but not store.
		_, err = n.js.PublishMsg(ctx, &nats.Msg{Subject: n.names.entry("clock")})
	}
	if err != nil {
		n.log.Debug("cursor may be ahead", "error", err)
	}
	return err == nil
}
