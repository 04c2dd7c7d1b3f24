// Package headcount counts connected users and emits events to them, over plain HTTP (Server-Sent Events). Use it in a
// program that already has an HTTP server:
//
//	live, err := headcount.New(headcount.Options{})
//	http.Handle("/live/", http.StripPrefix("/live", live))
//
// A page then shows how many users are connected with
//
//	<script src="/live/assets/io.js"></script>
//	<script>io().on('user count', n => console.log(n))</script>
//
// and every tab that opens the page increases the number.
//
// # What is served
//
// Below its mount point, [Server] serves events (the stream), count, badge.svg, alive, leave, emit, assets/io.js and
// assets/io.mjs. docs/openapi.yaml describes them.
//
// Mount it outside of middleware that buffers responses or times them out. Middleware that compresses does no harm if
// its writer has an Unwrap method, as those of Echo and chi have. If a middleware hides [http.Flusher] and
// [http.Hijacker], a request for a stream gets a 500 with a sentence that names the middleware.
//
// On Linux the server takes over the connections of HTTP/1.1 streams, so they cost no goroutine and no buffer. It also
// takes over streams over TLS 1.3 that come through a [TLSListener]. WriteTimeout, ReadTimeout and IdleTimeout of
// [http.Server] do not cut streams.
//
// # Concurrency
//
// All methods may be called from any goroutine. The functions of [Options] are called from many goroutines at once,
// except OnJoin and OnLeave.
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

// Options are the options of a [Server]. The zero value works and has the defaults of the command.
type Options struct {
	// Authorize returns an error if a request is not allowed. The client gets the error's text in a 403, or in a 401 if
	// it is [ErrUnauthenticated]. The server calls it with an empty Access.Event before each subscription, count,
	// renewal and goodbye, and with the event's name before each emit.
	//
	// Default nil: everybody may subscribe, and nobody may emit over HTTP. Danger: browsers send cookies with the forms
	// of other sites too. A cookie alone must not allow an emit.
	Authorize func(*http.Request, Access) error

	// Identify returns the name of the user that sent a request. A named user counts as one, however many tabs and
	// devices it has. Return "" for a request of an unknown user, which is then counted by its client id or on its own.
	// Return the same name for a stream and for its renewals. A named user leaves the count Linger after its last
	// stream ends, because the goodbye of one tab says nothing about the other tabs.
	//
	// Default nil: no user is named. Danger: a name that the request does not prove, such as a plain parameter, lets
	// anybody be counted as somebody else.
	Identify func(*http.Request) string

	// OnJoin and OnLeave are called with the new number of users of a room, over all nodes, after it has risen or
	// fallen. One goroutine makes all calls, in order. A call may take its time. Joins and leaves in the meantime may
	// be combined into one call.
	//
	// Default nil: no calls. Danger: a call that never returns stops all further calls. The streams go on.
	OnJoin, OnLeave func(room string, users int)

	// Backend connects this process to others, see package headcount/nats. Default nil: this process alone. Danger: a
	// backend belongs to one Server.
	Backend Backend

	// Logger gets the messages for operators. Default nil: nothing is logged, not even errors.
	Logger *slog.Logger

	// Observer gets measurements for metrics. Default nil: no calls. Danger: a method that does not return at once
	// holds up subscribers.
	Observer Observer

	// Origins are other origins whose pages may subscribe, such as https://example.com, in lower case and without a
	// path. https://*.example.com allows all names below example.com, "null" allows pages without an origin, such as
	// files and sandboxed frames, and "*" allows any origin. Default none. Danger: with "*" the pages of every site may
	// read all rooms that Authorize does not protect.
	Origins []string

	// TrustedProxies are the addresses of proxies whose X-Forwarded-For is trusted for the limits by address. Default
	// nil: loopback. Danger: a client at one of these addresses can pretend to have any address.
	TrustedProxies []netip.Prefix

	// Heartbeat is the longest silence on a stream. Default 10 s, at least 100 ms. Danger: proxies cut connections that
	// are silent for 30 to 60 s, some earlier.
	Heartbeat time.Duration

	// Linger is the grace period. It is how long a client id stays counted after its last stream broke without a
	// goodbye. Default 2 s; negative = none. Danger: without it each reload of a page changes the count.
	Linger time.Duration

	// Drain is how long [Server.Shutdown] takes to end the streams, so that clients do not all reconnect at once.
	// Default 10 s; negative = at once. Danger: with a short time the next process gets all reconnects at once.
	Drain time.Duration

	// History is how many events are kept for each room, for clients that reconnect. Default 1000. Danger: a client
	// that was away for more events than that gets an io:gap. All rooms together keep at most 64 MiB.
	History int

	// HistoryAge is how long an event is kept. Default 10 min. Danger: a client that was away for longer gets an
	// io:gap.
	HistoryAge time.Duration

	// MaxEvent is the largest event in bytes. It limits the body of an emit over HTTP and the JSON of [Server.Emit].
	// Default 64 KiB. Danger: each client of the room gets all of it, and NATS takes at most 1 MiB unless configured.
	MaxEvent int64

	// MaxStreams is how many streams may be open at once. Further streams get 503. Default: what the limit of open
	// files allows; negative = no limit. Danger: without a limit, streams can take all descriptors that your program
	// needs for other things.
	MaxStreams int

	// MaxStreamsPerIP is how many streams may be open per address (IPv6: per /64). Further streams get 503. Default:
	// the value of MaxStreams; negative = no limit. Danger: many users may share one address, behind a company's
	// gateway or a proxy that is not in TrustedProxies.
	MaxStreamsPerIP int

	// MaxStreamRate is how many new streams an address may open per second, with bursts of ten times that. Further
	// streams get 429. Default 0: no limit. Danger: as for MaxStreamsPerIP.
	MaxStreamRate int

	// MaxAge is the age at which a proxied stream without a client id is ended, because a proxy may keep a stream open
	// that has no subscriber. Default 0: never. Danger: its client reconnects, and with a short age does so often.
	MaxAge time.Duration

	// Resume is the state of another process, or of an earlier run, see [Snapshot]. Requests wait until [Server.Thaw]
	// is called. Default nil: nothing. Danger: without Thaw they wait for ever.
	Resume *Snapshot

	// Writer selects how HTTP/1.x streams are written. Default: the best that this system has. [Portable] leaves them
	// to net/http. Danger: each stream then costs a goroutine and its buffers.
	Writer Writer
}

// Access is what a request wants to do. Access.Room is a room. Access.Event is the name of the event to emit to it, or
// "" for a request that only reads. Access.EndAt sets when the permission ends. A stream then ends too.
type Access = httpapi.Access

// Backend connects this process to others. Package headcount/nats has one.
type Backend = engine.Backend

// Observer gets measurements for metrics. Embed [Unobserved] to implement only some of its methods.
type Observer = engine.Observer

// Unobserved is an [Observer] that ignores everything.
type Unobserved = engine.Unobserved

// Transport is how a subscriber gets its events, such as "epoll" or "poll".
type Transport = engine.Transport

// Reason is why a stream ended, in one word.
type Reason = engine.Reason

// Writer selects how the streams of HTTP/1.x are written. It is [Auto], [Uring], [Epoll] or [Portable].
type Writer = engine.Writer

// Stats is the state of a server at one moment.
type Stats = engine.Stats

// RoomStats is the state of a room at one moment.
type RoomStats = engine.RoomStats

// Room is the name of a room and the number of its users on this node.
type Room = presence.Room

// Values of Options.Writer.
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
	running  sync.WaitGroup // goroutines that stop ends
	stopped  chan struct{}  // closed when stop was called
	once     sync.Once
}

// New returns a server that is ready to serve. It runs in the background until
// [Server.Shutdown] is called.
func New(opt Options) (*Server, error) {
	if err := opt.complete(); err != nil {
		return nil, fmt.Errorf("headcount: %w", err)
	}
	// The assets are compressed on the first request, because subscribers may wait for New, see Snapshot.
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

// orDefault returns the default for 0, and 0 for a negative value.
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

// ServeHTTP serves one request. Its path must be relative to the mount point, as [http.StripPrefix] makes it.
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
			// The host's middleware may compress what is already compressed.
			if err := assets.Serve(httpapi.Innermost(w), r, name); err != nil {
				return httpapi.NotFound("there is no such file; the client is assets/io.js or assets/io.mjs")
			}
			return nil
		})(w, r)
		return
	}
	s.api.ServeHTTP(w, r)
}

// Rooms returns the rooms that have users on this node, in no particular order.
func (s *Server) Rooms() []Room { return s.engine.Rooms() }

// RoomStats returns the state of a room.
func (s *Server) RoomStats(room string) RoomStats { return s.engine.RoomStats(room) }

// Stats returns the state of the server, for metrics and health checks.
func (s *Server) Stats() Stats { return s.engine.Stats() }
