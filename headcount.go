// Package headcount counts connected users and emits events to them, over plain HTTP
// (Server-Sent Events). It is for programs that have an HTTP server already:
//
//	live, err := headcount.New(headcount.Options{})
//	http.Handle("/live/", http.StripPrefix("/live", live))
//
// A page then shows how many users are connected, with
//
//	<script src="/live/assets/io.js"></script>
//	<script>io().on('user count', n => console.log(n))</script>
//
// and every tab that opens it makes the number grow.
//
// # What is served
//
// Below its mount point, [Server] serves events (the stream), count, badge.svg,
// alive, leave, emit, assets/io.js and assets/io.mjs, as docs/operations.md describes them.
//
// Mount it outside of middleware that buffers answers or times them out. Middleware that
// compresses does no harm if its writer has an Unwrap method, as those of Echo and chi have.
// Where a middleware hides [http.Flusher] and [http.Hijacker], a stream is answered with 500 and
// a sentence that names it.
//
// Streams over HTTP/1.1 are taken over on Linux: they cost no goroutine and no buffer. So are
// those over TLS 1.3 that come through a [TLSListener]. WriteTimeout, ReadTimeout and IdleTimeout of [http.Server] do not cut streams.
//
// # Concurrency
//
// All methods may be called from any goroutine. The functions of [Options] are called from many
// goroutines at once, but for OnJoin and OnLeave.
package headcount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"

	"headcount/internal/asset"
	"headcount/internal/auth"
	"headcount/internal/engine"
	"headcount/internal/httpapi"
	"headcount/internal/presence"
)

// Options of a [Server]. The zero value works and has the defaults of the command.
type Options struct {
	// Authorize returns an error for what a request may not do. Its text goes to the client, as
	// the sentence of a 403, or of a 401 if it is [ErrUnauthenticated]. It is called before each
	// subscription, count, renewal and goodbye with an empty Access.Event, and before each emit.
	//
	// Default nil: everybody may subscribe, and nobody may emit over HTTP. Danger: browsers
	// send cookies with the forms of other sites too. A cookie alone must not allow an emit.
	Authorize func(*http.Request, Access) error

	// Identify returns the name of the user that a request comes from: one user, however many
	// tabs and devices. Return "" for a request of an unknown user. It is counted by its
	// client id, or on its own. It must return the same for the stream and for its renewals.
	// A named user is gone Linger after the last stream, because the goodbye of one tab says
	// nothing about the others.
	//
	// Default nil: no user is named.
	Identify func(*http.Request) string

	// OnJoin and OnLeave are called when the number of users of a room, over all nodes, has
	// risen or fallen, with the new number. Calls come from one goroutine, one after the other
	// and in order. They may take their time: joins and leaves in the meantime may be combined into one call.
	//
	// Default nil: no calls.
	OnJoin, OnLeave func(room string, users int)

	// Backend joins this process to others, see package headcount/nats. A backend is for one
	// Server. Default nil: this process alone.
	Backend Backend

	// Logger gets what operators should know. Default nil: nothing is logged, not even errors.
	Logger *slog.Logger

	// Observer is told what happens, for metrics. Its methods must return at once.
	// Default nil: no calls.
	Observer Observer

	// Origins are other origins whose pages may subscribe, such as https://example.com, in
	// lower case and without a path; "*" is any. Default none. Danger: with "*" the pages of
	// every site may read all rooms that Authorize does not protect.
	Origins []string

	// TrustedProxies are addresses whose X-Forwarded-For is believed, for the limits by address.
	// Default nil: loopback. Danger: a client at one of these addresses can pretend to have any address.
	TrustedProxies []netip.Prefix

	// Heartbeat is the longest silence on a stream. Default 10 s, at least 100 ms. Danger: proxies
	// cut what is silent for 30 to 60 s, some earlier.
	Heartbeat time.Duration

	// Linger is the grace period: how long a client id stays counted after its last stream broke
	// without a goodbye. Default 2 s; negative = none, and then each reload of a page changes the count.
	Linger time.Duration

	// Drain is how long [Server.Shutdown] takes to end the streams, so that clients do not all
	// come back at once. Default 10 s; negative = at once.
	Drain time.Duration

	// History is how many events are kept for each room, for clients that come back. Default
	// 1000. All rooms together keep at most 64 MiB.
	History int

	// HistoryAge is how long an event is kept. Default 10 min.
	HistoryAge time.Duration

	// MaxEvent is the largest event in bytes: the body of an emit over HTTP, and the JSON of
	// [Server.Emit]. Default 64 KiB.
	MaxEvent int64

	// MaxStreams is how many streams may be open at once; the rest get 503. Default:
	// what the limit of open files allows; negative = no limit. Danger: without one, streams can
	// take all descriptors that your program needs for other things.
	MaxStreams int

	// MaxStreamsPerIP is how many streams may be open per address (IPv6: per /64); the rest get 503.
	// Default: as MaxStreams; negative = no limit.
	MaxStreamsPerIP int

	// MaxStreamRate is how many new streams an address may open per second, with bursts of ten
	// times that; the rest get 429. Default 0: no limit.
	MaxStreamRate int

	// MaxAge is when a proxied stream without a client id is ended, because a proxy may keep a
	// stream open that has no reader. Default 0: never.
	MaxAge time.Duration

	// Resume is what another process had, or what this one left: see [Snapshot]. Requests wait until [Server.Thaw] is
	// called. Default nil: nothing.
	Resume *Snapshot

	// Writer is how HTTP/1.x streams are written. Default: the best that this system has.
	// [Portable] leaves them with net/http, at one goroutine each.
	Writer Writer
}

// Types that options have.
type (
	Access   = httpapi.Access  // what a request wants to do
	Backend  = engine.Backend  // the other nodes
	Observer = engine.Observer // what metrics are made of
	Writer   = engine.Writer   // how streams are written
	Stats    = engine.Stats    // what there is now
	Room     = presence.Room   // a room and its users
)

// Ways to write streams.
const (
	Auto     = engine.Auto
	Uring    = engine.Uring
	Epoll    = engine.Epoll
	Portable = engine.Portable
)

// Server counts users and emits events. It is an [http.Handler]. Make one with [New], and end it
// with [Server.Shutdown].
type Server struct {
	engine   *engine.Engine
	api      *httpapi.Handler
	assets   func() (*asset.Set, error)
	errors   httpapi.Errors
	maxEvent int64
	drain    time.Duration
	stop     context.CancelFunc
	running  sync.WaitGroup // what stop ends
	stopped  chan struct{}  // closed when stop was called
	once     sync.Once
}

// New returns a server that is ready to serve. It runs in the background until
// [Server.Shutdown] is called.
func New(opt Options) (*Server, error) {
	if err := opt.complete(); err != nil {
		return nil, fmt.Errorf("headcount: %w", err)
	}
	// They are compressed when they are first asked for: readers may wait for New, see Snapshot.
	assets := sync.OnceValues(func() (*asset.Set, error) { return asset.New(false) })
	s := &Server{assets: assets, maxEvent: opt.MaxEvent, drain: opt.Drain, stopped: make(chan struct{})}
	origins, err := auth.ParseOrigins(strings.Join(opt.Origins, ","))
	if err != nil {
		return nil, fmt.Errorf("headcount: origins: %w", err)
	}
	notifier := newNotifier(opt)
	if notifier != nil {
		opt.Observer = notifier
	}
	if s.engine, err = engine.New(opt.engine()); err != nil {
		return nil, fmt.Errorf("headcount: %w", err)
	}
	s.api = httpapi.New(httpapi.Options{
		Engine: s.engine, Authorize: opt.Authorize, Identify: opt.Identify, Origins: origins,
		Trusted: opt.TrustedProxies, MaxEvent: opt.MaxEvent, Log: opt.Logger, Observer: opt.Observer,
	})
	s.errors = httpapi.Errors{Log: opt.Logger, Refused: opt.Observer.Refused}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if notifier != nil {
		notifier.count = s.engine.CountNow
		s.running.Go(func() { notifier.run(ctx) })
	}
	s.running.Go(func() {
		if err := s.engine.Run(ctx); err != nil {
			opt.Logger.Error("backend stopped", "error", err)
		}
	})
	return s, nil
}

// complete validates the options and sets the defaults.
func (o *Options) complete() error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = engine.Unobserved{}
	}
	if o.TrustedProxies == nil {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	if o.Heartbeat != 0 && o.Heartbeat < 100*time.Millisecond {
		return errors.New("Options.Heartbeat must be at least 100 ms")
	}
	if o.History < 0 || o.HistoryAge < 0 || o.MaxEvent < 0 || o.MaxStreamRate < 0 || o.MaxAge < 0 {
		return errors.New("options History, HistoryAge, MaxEvent, MaxStreamRate and MaxAge must not be negative")
	}
	o.Linger = orDefault(o.Linger, 2*time.Second)
	o.Drain = orDefault(o.Drain, 10*time.Second)
	o.MaxEvent = orDefault(o.MaxEvent, 64<<10)
	o.MaxStreams = orDefault(o.MaxStreams, engine.StreamsFor(engine.FileLimit(), runtime.GOMAXPROCS(0)))
	o.MaxStreamsPerIP = orDefault(o.MaxStreamsPerIP, o.MaxStreams)
	return nil
}

// orDefault returns the default for 0, and 0 for what is negative.
func orDefault[T int | int64 | time.Duration](value, standard T) T {
	if value == 0 {
		return standard
	}
	return max(value, 0)
}

func (o *Options) engine() engine.Options {
	return engine.Options{
		Heartbeat: o.Heartbeat, Linger: o.Linger, Drain: o.Drain, History: o.History, HistoryAge: o.HistoryAge,
		MaxStreams: o.MaxStreams, MaxPerIP: o.MaxStreamsPerIP, MaxRate: o.MaxStreamRate, MaxAge: o.MaxAge,
		Writer: o.Writer, Resume: o.Resume, Backend: o.Backend, Observer: o.Observer, Log: o.Logger,
	}
}

// ServeHTTP serves one request. The path is what is left of it below the mount, as
// [http.StripPrefix] makes it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(strings.TrimPrefix(r.URL.Path, "/"), "assets/"); ok && asset.Client(name) {
		s.errors.Handle(func(w http.ResponseWriter, r *http.Request) error {
			if err := httpapi.Allow(w, r, http.MethodGet, http.MethodHead); err != nil {
				return err
			}
			assets, err := s.assets()
			if err != nil {
				return err
			}
			// A host's middleware may compress what is compressed already.
			if err := assets.Serve(httpapi.Innermost(w), r, name); err != nil {
				return httpapi.NotFound("there is no such file; the client is assets/io.js or assets/io.mjs")
			}
			return nil
		})(w, r)
		return
	}
	s.api.ServeHTTP(w, r)
}

// Rooms returns the rooms that have users on this node, in no order.
func (s *Server) Rooms() []Room { return s.engine.Rooms() }

// Stats returns what there is now, for metrics and health checks.
func (s *Server) Stats() Stats { return s.engine.Stats() }
