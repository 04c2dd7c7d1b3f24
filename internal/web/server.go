// Package web is headcount over HTTP: routes, middleware and handlers. It is the
// only package that knows Echo.
package web

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"headcount/internal/hub"
	"headcount/internal/presence"
	"headcount/internal/sse"
	"headcount/internal/wire"
)

// Options of a [Server]. The zero value of each field means its default.
type Options struct {
	Heartbeat time.Duration // longest silence on a stream; default 10 s
	Linger    time.Duration // how long a client id stays counted; 0 = not at all
	Drain     time.Duration // how long [Server.Drain] may take; 0 = all at once
	Origins   []string      // other origins that may subscribe; "*" = any

	Token      string         // of POST /emit; "" = emit is off
	MaxEvent   int64          // largest body of POST /emit, in bytes; default 64 KiB
	History    int            // events kept per room; default 1000
	HistoryAge time.Duration  // how long an event is kept; default 10 min
	MaxStreams int            // streams open at once; 0 = no limit
	MaxPerIP   int            // streams open at once from one client address; 0 = no limit
	MaxRate    int            // new streams a second from one client address; 0 = no limit
	Private    []string       // patterns of rooms that need a token; * = any text
	Key        *Key           // of tokens; nil = there are none
	Trusted    []netip.Prefix // proxies whose X-Forwarded-For is believed
	MaxAge     time.Duration  // of proxied streams without id; 0 = no limit

	Cluster   Cluster      // the other nodes; nil = this one is alone
	Writer    Writer       // how streams are written; default: the best that there is
	Dev       bool         // assets and templates from disk
	Log       *slog.Logger // default: none
	Version   string       // what operators are told
	AdminName string       // name under which the admin listener is reached, beside those that are nobody else's
}

// Writer is a way to write streams.
type Writer string

// Ways to write streams. The zero value is the best that this system has.
const (
	Auto     Writer = "auto"
	Uring    Writer = "io_uring" // what Auto is where the kernel allows it: one system call for many readers
	Epoll    Writer = "epoll"    // one write(2) for each reader
	Portable Writer = "stream"   // through net/http for every stream
)

// Server is one node: its rooms, its users and its routes.
type Server struct {
	opt       Options
	log       *slog.Logger
	hub       *hub.Hub
	table     *presence.Table
	pages     *pages
	epoll     *wire.Epoll // nil where there is none
	keys      keys
	probes    probes
	rates     rates
	metrics   *metrics
	board     board
	started   time.Time
	handler   http.Handler
	maxLeases int
	expire    chan struct{}          // a lease may now end earlier than before
	keeping   atomic.Pointer[string] // what is wrong with events that all nodes should keep

	mu        sync.Mutex
	streams   map[*stream]struct{}
	leased    map[*stream]struct{}
	clients   map[netip.Prefix]int // open streams by client address
	draining  bool
	newcomers int           // streams that came since the last look of calm
	idle      chan struct{} // closed when draining and no stream is left
}

// New returns a server that is ready to serve; its users expire while
// [Server.Run] runs.
func New(opt Options) (*Server, error) {
	if opt.Heartbeat == 0 {
		opt.Heartbeat = 10 * time.Second
	}
	if opt.MaxEvent == 0 {
		opt.MaxEvent = 64 << 10
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	opt.Log = slog.New(newQuiet(opt.Log.Handler()))
	s := &Server{
		opt:       opt,
		log:       opt.Log,
		table:     presence.New(opt.Linger),
		metrics:   newMetrics(),
		started:   time.Now(),
		rates:     rates{perSecond: opt.MaxRate},
		maxLeases: max(minLeases, 4*opt.MaxStreams),
		probes:    probes{stop: make(chan struct{})},
		expire:    make(chan struct{}, 1),
		streams:   make(map[*stream]struct{}),
		leased:    make(map[*stream]struct{}),
		clients:   make(map[netip.Prefix]int),
		idle:      make(chan struct{}),
	}
	rooms := hub.Options{
		History: opt.History, HistoryAge: opt.HistoryAge,
		Idle:   opt.Linger + time.Minute, // its users may come back that long
		Passed: s.metrics.passed,
	}
	if opt.Cluster != nil {
		rooms.Source, rooms.Node = opt.Cluster, opt.Cluster.Tag()
	}
	s.hub = hub.New(rooms)
	count := func(room string) int { return s.everywhere(context.Background(), room) }
	var err error
	s.pages, err = newPages(pageConfig{Dev: opt.Dev, Node: rooms.Node, Version: opt.Version, Count: count, Now: time.Now})
	if err != nil {
		return nil, err
	}
	s.board = newBoard(s.started)
	s.handler = s.routes()
	if opt.Writer != Portable {
		s.epoll, err = wire.NewEpoll(opt.Heartbeat, opt.Writer != Epoll)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return nil, err
		}
	}
	return s, nil
}

// Close cuts every stream that is left. Nobody is told.
func (s *Server) Close() error {
	if s.epoll == nil {
		return nil
	}
	return s.epoll.Close()
}

// routes is every way in.
func (s *Server) routes() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.answerError
	e.IPExtractor = clientAddress(s.opt.Trusted)
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{DisableStackAll: true, LogErrorFunc: s.logPanic}))
	e.Use(protect)

	get := func(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) {
		e.Match([]string{http.MethodGet, http.MethodHead}, path, h, m...)
	}
	get("/", s.pages.home, s.keepPrivate)
	get("/assets/*", s.pages.asset)
	get("/socket.io/socket.io.js", s.pages.client) // where lessons load it from
	get("/badge.svg", s.badge)
	get("/favicon.ico", s.favicon)

	get("/events", s.events, s.allowOrigin)
	e.OPTIONS("/events", notAllowed(http.MethodGet, http.MethodHead))
	e.POST("/alive", s.alive, s.answerOrigin)
	e.POST("/leave", s.leave, s.answerOrigin)

	e.POST("/emit", s.emit)
	get("/count", s.count, s.allowOrigin)
	get("/doctor/:probe", s.doctor, s.answerOrigin)

	get("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	get("/readyz", s.readyz)
	return e
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer inTime(w, r)()
	s.handler.ServeHTTP(w, r)
}

// ListenConfig returns how to listen for the public listener, so that the kernel
// gives up readers that vanished.
func ListenConfig() net.ListenConfig {
	var lc net.ListenConfig
	wire.Tune(&lc)
	return lc
}

// ConnContext is for http.Server: it lets the epoll writer find a request's connection.
func (s *Server) ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connKey is where a request's context has its connection.
type connKey struct{}

// Run takes users whose time is over out of the count, until ctx is done.
func (s *Server) Run(ctx context.Context) {
	trim := time.NewTicker(10 * time.Second)
	defer trim.Stop()
	ask := time.NewTicker(time.Second)
	defer ask.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	var storm calm
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-trim.C:
			s.hub.Trim(now)
		case now := <-ask.C:
			s.askLeased(now)
			if storm.over(s.takeNewcomers()) {
				debug.FreeOSMemory()
			}
			s.look(now)
		case <-s.expire:
		case <-due.C:
			for _, room := range s.table.Expire(time.Now()) {
				s.recount(room)
			}
		}
		if next, ok := s.table.Next(); ok {
			due.Reset(time.Until(next))
		}
	}
}

// takeNewcomers returns how many streams came since the last call.
func (s *Server) takeNewcomers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.newcomers
	s.newcomers = 0
	return n
}

// recount tells the room, and the other nodes, how many users it has now.
func (s *Server) recount(room string) {
	if s.opt.Cluster != nil {
		s.opt.Cluster.Changed(room)
	}
	s.tell(room)
}

// tell tells the room how many users it has now.
func (s *Server) tell(room string) {
	s.pages.counted(room, s.total(room))
	if r := s.hub.Lookup(room); r != nil {
		r.Update(sse.UserCount, s.users(room))
	}
}

// users returns the data of the room's user count, as [hub.Room.Update] wants it.
func (s *Server) users(room string) func() []byte {
	return func() []byte { return strconv.AppendInt(nil, int64(s.total(room)), 10) }
}

// Writer returns how the streams of plain HTTP/1.x are written.
func (s *Server) Writer() Writer {
	switch {
	case s.epoll == nil:
		return Portable
	case s.epoll.Uring():
		return Uring
	}
	return Epoll
}

// Hub returns the rooms of this node.
func (s *Server) Hub() *hub.Hub { return s.hub }

// Table returns the users of this node.
func (s *Server) Table() *presence.Table { return s.table }

// Streams returns how many streams are open.
func (s *Server) Streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// Drain takes no new streams and ends the open ones: in random order and over
// Options.Drain, but no slower than 200 a second, each told to come back after a
// time of its own. It returns when all have ended or ctx is done.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return errors.New("drain: it has begun already")
	}
	s.draining = true
	close(s.probes.stop)
	open := make([]*stream, 0, len(s.streams))
	for st := range s.streams { // in no order, but not a random one either
		open = append(open, st)
	}
	if len(open) == 0 {
		close(s.idle)
	}
	s.mu.Unlock()

	rand.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	// The last tenth of the time is for what the readers are slow to take.
	step := min(s.opt.Drain*9/10/time.Duration(max(len(open), 1)), time.Second/200)
	begin := time.Now()
	for i, st := range open {
		wait := time.Until(begin.Add(time.Duration(i) * step))
		if wait > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		st.end(retry())
	}
	defer s.board.end() // operators watch until the end
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.idle:
		return nil
	}
}

// retry is how long a reader is told to wait before it comes back: random, so that
// many do not come at once.
func retry() time.Duration { return time.Second + rand.N(2*time.Second) }

// retry is that of a new stream. One with a client id is to be back while its id
// lingers, so that the way back is no flicker in the count.
func (s *Server) retry(named bool) time.Duration {
	if span := s.opt.Linger - 1200*time.Millisecond; named && span > 0 && span < 2*time.Second {
		return time.Second + rand.N(span)
	}
	return retry()
}

// soon is the retry of one who should come back at once, and not all together.
// Never 0: it makes browsers spin.
func soon() time.Duration { return 100*time.Millisecond + rand.N(200*time.Millisecond) }
