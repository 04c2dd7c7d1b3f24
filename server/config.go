package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"

	"headcount"
	"headcount/internal/auth"
	"headcount/internal/engine"
	"headcount/internal/version"
	"headcount/nats"
)

// config is what the flags and the environment say.
type config struct {
	addr       string
	path       string
	heartbeat  time.Duration
	linger     time.Duration
	drain      time.Duration
	origins    []string
	token      string
	key        *auth.Key // nil = there is none
	private    []string
	maxEvent   size
	history    int
	historyAge time.Duration
	maxStreams streamLimit
	maxPerIP   streamLimit
	maxRate    int
	trusted    prefixes
	admin      string
	tlsCert    string
	tlsKey     string
	http2      bool
	h2c        bool
	log        string
	version    bool
	health     bool
	maxAge     time.Duration
	writer     string
	nats       string
	natsPrefix string
	dev        bool
	state      string
	unknown    []string // variables HEADCOUNT_<NAME> that are no options
}

// usageError is a mistake in the flags or the environment: exit status 2.
type usageError struct{ error }

// parseConfig reads args and the environment variables HEADCOUNT_<NAME>, which the
// flags override. It returns nil if help or the version was asked for and has been
// given.
func parseConfig(args []string, stdout io.Writer) (*config, error) {
	var cfg config
	var origins, key, private string
	fs := flag.NewFlagSet("server", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // an error is one line, told once, by main
	fs.StringVar(&cfg.addr, "addr", ":8080", "public listener, `host:port` or unix:PATH")
	fs.StringVar(&cfg.path, "path", "", "`path` under which everything is served, such as /live, if a proxy in front does not strip it")
	fs.Var(duration(&cfg.heartbeat, 10*time.Second, 100*time.Millisecond, 10*time.Minute), "heartbeat", "longest silence on a stream, a `duration` from 100ms to 10m")
	fs.Var(duration(&cfg.linger, 2*time.Second, 0, 10*time.Minute), "linger", "how long a client id stays counted after its stream broke without a goodbye, a `duration` from 0 to 10m")
	fs.Var(duration(&cfg.drain, 10*time.Second, 0, time.Hour), "drain", "how long a stopping server takes to hand its streams over, a `duration` from 0 to 1h")
	fs.StringVar(&origins, "origins", "", "other `origins` that may subscribe from a browser, comma-separated; * = any")
	fs.StringVar(&cfg.token, "token", "", "bearer `token` for POST /emit; without one emit is off")
	fs.StringVar(&key, "key", "", "`key` that signs the tokens (JWT) of private rooms: an HMAC secret of 32 bytes or more, or @FILE with one, or with a public key in PEM")
	fs.StringVar(&private, "private", "", "`rooms` that need a token, comma-separated, such as team-*; * = any text")
	cfg.maxEvent = 64 << 10
	fs.Var(&cfg.maxEvent, "max-event", "largest body of POST /emit, a `size` from 1KiB to 16MiB")
	fs.Var(number(&cfg.history, 1000, 1, 1_000_000), "history", "`events` kept per room, 1 to 1000000")
	fs.Var(duration(&cfg.historyAge, 10*time.Minute, time.Second, 24*time.Hour), "history-age", "how long an event is kept, a `duration` from 1s to 24h")
	cfg.maxStreams = auto
	fs.Var(&cfg.maxStreams, "max-streams", "`streams` open at once, beyond: 503; 0 = no limit")
	cfg.maxPerIP = auto
	fs.Var(&cfg.maxPerIP, "max-streams-per-ip", "`streams` open at once from one address (IPv6: one /64), beyond: 503; 0 = no limit")
	fs.Var(number(&cfg.maxRate, 0, 0, 1_000_000), "max-stream-rate", "new `streams` a second from one address (IPv6: one /64), ten times as many at once, beyond: 429; 0 = no limit")
	cfg.trusted = loopback()
	fs.Var(&cfg.trusted, "trusted-proxies", "`CIDRs` whose X-Forwarded-For is believed, comma-separated")
	fs.StringVar(&cfg.admin, "admin", defaultAdmin, "private listener, `host:port` or unix:PATH: /stats (a page too), /metrics, /debug/pprof/; empty = off")
	fs.StringVar(&cfg.tlsCert, "tls-cert", "", "`file` of the certificate, for HTTPS and HTTP/2 on -addr; read again when it changes")
	fs.StringVar(&cfg.tlsKey, "tls-key", "", "`file` of the certificate's key")
	cfg.http2 = true
	fs.Var((*onOff)(&cfg.http2), "http2", "offer HTTP/2 over TLS; without it each browser's stream costs as little as one without TLS")
	fs.Var((*onOff)(&cfg.h2c), "h2c", "HTTP/2 without TLS on -addr too, for a proxy that speaks it")
	fs.StringVar(&cfg.log, "log", "text", "`form` of the log on standard error: text or json")
	fs.Var((*onOff)(&cfg.version), "version", "print the version and end")
	fs.Var((*onOff)(&cfg.health), "health", "ask the server that has these options whether it is healthy, and end: status 0 = yes, 1 = no")
	fs.Var(duration(&cfg.maxAge, 0, time.Second, 24*time.Hour).orZero(), "max-age", "when a stream without id that came through a proxy is ended, a `duration` from 1s to 24h; 0 = never")
	fs.StringVar(&cfg.writer, "writer", "auto", "`way` that streams are written: auto; to compare: epoll, without io_uring, or stream, the portable one")
	fs.StringVar(&cfg.nats, "nats", "", "`URLs` of NATS servers, comma-separated: all nodes with the same ones are one headcount")
	fs.StringVar(&cfg.natsPrefix, "nats-prefix", "headcount", "first `word` of all names on NATS, so that several headcounts can share it")
	fs.StringVar(&cfg.state, "state", "", "`file` that carries history, users and keys over a stop and start; written at the end, read and removed at the start")
	fs.Var((*onOff)(&cfg.dev), "dev", "assets and templates from disk, read on every request")

	unknown, err := readEnvironment(fs)
	if err != nil {
		return nil, usageError{err}
	}
	cfg.unknown = unknown
	err = ff.Parse(fs, args, ff.WithEnvVarPrefix(envPrefix))
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil, help(fs, stdout)
	case err != nil:
		return nil, usageError{plain(err)}
	case fs.NArg() > 0:
		return nil, usageError{fmt.Errorf("unexpected argument %q; options begin with a dash, -h lists them", fs.Arg(0))}
	}
	if cfg.version {
		_, err := fmt.Fprintln(stdout, version.String())
		return nil, err
	}
	if cfg.path, err = parsePath(cfg.path); err != nil {
		return nil, usageError{err}
	}
	if cfg.origins, err = auth.ParseOrigins(origins); err != nil {
		return nil, usageError{fmt.Errorf("-origins: %w", err)}
	}
	if cfg.key, err = parseKey(key); err != nil {
		return nil, usageError{err}
	}
	if cfg.private, err = auth.ParseRooms(private); err != nil {
		return nil, usageError{err}
	}
	if err := cfg.check(); err != nil {
		return nil, usageError{err}
	}
	return &cfg, nil
}

const defaultAdmin = "127.0.0.1:8081"

// backend is the options of the other nodes, for -nats.
func (c *config) backend(log *slog.Logger) nats.Options {
	return nats.Options{Servers: c.nats, Prefix: c.natsPrefix, History: c.history, HistoryAge: c.historyAge, Log: log}
}

// headcount is what the server does.
func (c *config) headcount(log *slog.Logger) headcount.Options {
	return headcount.Options{
		Heartbeat:       c.heartbeat,
		Linger:          orNone(c.linger),
		Drain:           orNone(c.drain),
		Origins:         c.origins,
		TrustedProxies:  append([]netip.Prefix{}, c.trusted...), // none is not the default
		MaxEvent:        int64(c.maxEvent),
		History:         c.history,
		HistoryAge:      c.historyAge,
		MaxStreams:      orNone(c.maxStreams.resolve(engine.FileLimit(), runtime.GOMAXPROCS(0))),
		MaxStreamsPerIP: orNone(c.maxPerIP.resolve(engine.FileLimit(), runtime.GOMAXPROCS(0))),
		MaxStreamRate:   c.maxRate,
		MaxAge:          c.maxAge,
		Writer:          headcount.Writer(c.writer),
		Logger:          log,
	}
}

// orNone turns 0, which is none here, into what is none there: 0 is the default.
func orNone[T int | time.Duration](n T) T {
	if n == 0 {
		return -1
	}
	return n
}

// adminName is the host of -admin.
func (c *config) adminName() string {
	host, _, _ := net.SplitHostPort(c.admin) // check has looked
	return host
}

func (c *config) check() error {
	if c.nats != "" && c.state != "" {
		return errors.New("-state is for one machine alone: with -nats the nodes keep what it would; give one of both")
	}
	if c.nats != "" {
		options := c.backend(nil)
		if err := options.Check(); err != nil {
			return err
		}
	}
	if _, _, err := splitAddr(c.addr); err != nil {
		return fmt.Errorf("-addr %q is %w; try :8080", c.addr, err)
	}
	if c.maxEvent < 1<<10 || c.maxEvent > 16<<20 {
		return fmt.Errorf("-max-event %v is out of range; give 1KiB to 16MiB", c.maxEvent)
	}
	if !ascii(c.token) {
		return errors.New("-token has a space or another character that cannot go into a header; give visible ASCII")
	}
	if len(c.private) > 0 && c.key == nil {
		return errors.New("-private needs -key: without a key nobody can have a token for these rooms")
	}
	if c.log != "text" && c.log != "json" {
		return fmt.Errorf("-log %q is unknown; give text or json", c.log)
	}
	if c.writer != "auto" && c.writer != "epoll" && c.writer != "stream" {
		return fmt.Errorf("-writer %q is unknown; give auto, epoll or stream", c.writer)
	}
	if c.admin != "" {
		if _, _, err := splitAddr(c.admin); err != nil {
			return fmt.Errorf("-admin %q is %w; try 127.0.0.1:8081, or nothing to switch it off", c.admin, err)
		}
	}
	if (c.tlsCert == "") != (c.tlsKey == "") {
		return errors.New("-tls-cert and -tls-key go together; give both or neither")
	}
	return nil
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
