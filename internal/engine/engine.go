package engine

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"headcount/internal/hub"
	"headcount/internal/presence"
	"headcount/internal/sse"
	"headcount/internal/wire"
)

// Options are the options of an [Engine].
type Options struct {
	Heartbeat  time.Duration // longest silence on a stream; 0 = 10 s
	Linger     time.Duration // grace period: how long a client id stays counted after its last stream broke
	Drain      time.Duration // how long [Engine.Drain] may take; 0 = all at once
	History    int           // events kept per room; 0 = 1000
	HistoryAge time.Duration // how long an event is kept; 0 = 10 min
	MaxStreams int           // streams open at once; 0 = no limit
	MaxPerIP   int           // streams open at once from one address; 0 = no limit
	MaxRate    int           // new streams a second from one address; 0 = no limit
	MaxAge     time.Duration // of proxied streams without id; 0 = no limit

	Writer   Writer       // "" = Auto
	Backend  Backend      // the other nodes; nil = there are none
	Resume   *Snapshot    // state to continue with after [Engine.Thaw]; nil = nothing
	Observer Observer     // nil = nobody
	Log      *slog.Logger // nil = none
}

// Writer is how the streams of HTTP/1.x are written.
type Writer string

// Values of Writer.
const (
	Auto     Writer = "auto"     // the best one that this system has
	Uring    Writer = "io_uring" // the choice of Auto if the kernel allows it; one system call for many subscribers
	Epoll    Writer = "epoll"    // one write(2) for each subscriber
	Portable Writer = "stream"   // through net/http
)

// Engine is one node with its rooms, users and streams.
type Engine struct {
	opt       Options
	log       *slog.Logger
	observer  Observer
	joins     joins
	hub       *hub.Hub
	users     *presence.Table
	node      Node
	alone     bool        // there are no other nodes
	epoll     *wire.Epoll // nil if there is none
	streams   *registry
	rates     rates
	guests    guests
	emits     gate
	freezer   freezer
	catching  catchUp
	begun     chan struct{} // closed when the engine starts to run
	begin     func()        // closes begun
	started   time.Time
	verbose   bool // what single clients do is logged
	maxLeases int
	expire    chan struct{}          // signals that a lease may end earlier than before
	degraded  atomic.Pointer[string] // describes a problem with the events of all nodes
}

func (opt *Options) setDefaults() {
	if opt.Heartbeat == 0 {
		opt.Heartbeat = 10 * time.Second
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Observer == nil {
		opt.Observer = Unobserved{}
	}
}

// New returns an engine that is ready to serve. Its users expire only while [Engine.Run] runs.
func New(opt Options) (*Engine, error) {
	opt.setDefaults()
	alone := opt.Backend == nil
	users := presence.New(opt.Linger)
	if alone {
		opt.Backend = noBackend{}
	} else {
		// A user that moves to another node stays counted here until all nodes know it is there.
		opt.Linger = max(opt.Linger, moveWithin)
		users = presence.NewJournaled(opt.Linger)
	}
	e := &Engine{
		opt:       opt,
		log:       opt.Log,
		observer:  opt.Observer,
		users:     users,
		alone:     alone,
		streams:   newRegistry(opt.MaxStreams, opt.MaxPerIP),
		rates:     rates{perSecond: opt.MaxRate},
		started:   time.Now(),
		verbose:   opt.Log.Enabled(context.Background(), slog.LevelDebug),
		maxLeases: max(minLeases, 4*opt.MaxStreams),
		expire:    make(chan struct{}, 1),
		catching:  newCatchUp(),
	}
	rooms := hub.Options{
		History: opt.History, HistoryAge: opt.HistoryAge,
		Idle:   opt.Linger + time.Minute, // its users may reconnect for that long
		Passed: opt.Observer.Delivered,
	}
	if opt.Resume != nil {
		rooms.Node = opt.Resume.saved.Hub.Node
	}
	var err error
	if e.hub, e.node, err = opt.Backend.Join(rooms, users); err != nil {
		return nil, err
	}
	if opt.Writer != Portable {
		e.epoll, err = wire.NewEpoll(opt.Heartbeat, opt.Writer != Epoll)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return nil, err
		}
	}
	e.begun = make(chan struct{})
	e.begin = sync.OnceFunc(func() { close(e.begun) })
	if opt.Resume != nil {
		e.opt.Resume = nil
		if err := e.restore(opt.Resume); err != nil {
			return nil, errors.Join(err, e.epoll.Close())
		}
	} else {
		e.begin()
	}
	return e, nil
}

// Close cuts every stream that is left, without a goodbye.
func (e *Engine) Close() error {
	e.streams.cut()
	if e.epoll == nil {
		return nil
	}
	return e.epoll.Close()
}

// Run does the periodic work and the work of the node among others until ctx is done.
func (e *Engine) Run(ctx context.Context) error {
	select {
	case <-e.begun:
	case <-ctx.Done():
		return nil
	}
	var err error
	var running sync.WaitGroup
	running.Go(func() {
		err = e.node.Run(ctx)
	})
	running.Go(func() { e.follow(ctx) })
	running.Go(func() { e.catchUp(ctx) })
	e.tend(ctx)
	running.Wait()
	return err
}

// follow applies what other nodes change, until ctx is done.
func (e *Engine) follow(ctx context.Context) {
	for {
		changes, err := e.node.Next(ctx)
		if err != nil || !e.freezer.enter() {
			return
		}
		for _, c := range changes {
			e.apply(c)
		}
		e.freezer.leave()
	}
}

func (e *Engine) apply(c Change) {
	if len(c.Renewed) > 0 {
		e.renewKnown(c.Room, c.Renewed)
	}
	if len(c.Left) > 0 {
		e.leaveHere(c.Room, c.Left, c.Grace)
	} else {
		e.recount(c.Room)
	}
}

// tend removes users from the count when their lease or grace period ends.
func (e *Engine) tend(ctx context.Context) {
	trim := time.NewTicker(10 * time.Second)
	defer trim.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	var storm storm
	over := false
	secondly := func(now time.Time) {
		e.tendLeases(now)
		over = storm.over(e.streams.takeNewcomers())
	}
	for last := time.Now(); ; {
		var work func(now time.Time)
		select {
		case <-ctx.Done():
			return
		case <-trim.C:
			work = e.trim
		case <-second.C:
			work = secondly
		case <-e.expire:
			work = func(time.Time) {}
		case <-due.C:
			work = e.expireUsers
		}
		if !e.freezer.enter() {
			return
		}
		now := time.Now()
		if stalled := now.Sub(last); stalled > stallTime {
			// No message was read in the meantime. Messages that have arrived still have to be read.
			e.users.Postpone(stalled)
			e.streams.postpone(stalled)
		}
		work(now)
		e.freezer.leave()
		if over { // not before, because it may take longer than a restart should
			over = false
			debug.FreeOSMemory()
		}
		last = time.Now()
		if next, ok := e.users.Next(); ok {
			due.Reset(time.Until(next))
		}
	}
}

// stallTime is the longest wait of tend while the process runs, because it has work each second. After a longer wait
// the process was frozen or starved.
const stallTime = 3 * time.Second

func (e *Engine) trim(now time.Time) {
	e.hub.Trim(now)
	e.guests.trim(now)
}

func (e *Engine) expireUsers(now time.Time) {
	for _, room := range e.users.Expire(now) {
		e.recount(room)
		e.traceUsers("expired", room)
	}
}

// wakeExpiry makes tend look again when the next lease ends.
func (e *Engine) wakeExpiry() {
	select {
	case e.expire <- struct{}{}:
	default: // tend will look anyway
	}
}

// recount publishes the room's number of users, and tells the other nodes about changes here.
func (e *Engine) recount(room string) {
	if !e.catching.over() {
		e.node.Changed(room)
		return // catchUp will publish it
	}
	var users int
	if r := e.hub.Lookup(room); r != nil {
		r.Update(sse.UserCount, func() []byte {
			users = e.node.Changed(room)
			return strconv.AppendInt(nil, int64(users), 10)
		})
	} else {
		users = e.node.Changed(room)
	}
	e.observer.Counted(room, users)
}

// CountNow returns how many users the room has on all nodes, as far as this node knows. It never waits.
func (e *Engine) CountNow(room string) int { return e.node.Changed(room) }

// Count returns how many users a room has on all nodes. It may ask the other nodes. It waits while the engine is frozen.
func (e *Engine) Count(ctx context.Context, room string) (int, error) {
	waitFor(ctx, e.catching.done) // ends also if the next process takes over meanwhile
	if !e.freezer.enter() {
		return 0, moved()
	}
	e.freezer.leave() // the answer may take a while, and changes nothing
	return e.node.Count(ctx, room), nil
}

// Hub returns the rooms of this node.
func (e *Engine) Hub() *hub.Hub { return e.hub }

// Users returns the users of this node.
func (e *Engine) Users() *presence.Table { return e.users }
