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

	"headcount"
	"headcount/internal/auth"
	"headcount/internal/engine"
	"headcount/internal/option"
	"headcount/internal/version"
	"headcount/nats"
)

// config holds the values of the flags and the environment variables.
type config struct {
	addr       string
	path       string
	heartbeat  time.Duration
	linger     time.Duration
	drain      time.Duration
	origins    []string
	token      string
	key        *auth.Key // nil = no key
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
	logLevel   slog.Level
	version    bool
	health     bool
	maxAge     time.Duration
	writer     string
	nats       string
	natsPrefix string
	dev        bool
	state      string
	given      struct{ origins, key, private string } // as the user wrote them
}

// usageError is a mistake in the flags or the environment. The exit status is 2.
type usageError struct{ error }

// parseConfig reads args and the environment variables HEADCOUNT_<NAME>. args override the variables. It returns nil
// after it has printed the help or the version.
func parseConfig(args []string, stdout io.Writer) (*config, error) {
	var cfg config
	fs := flag.NewFlagSet("server", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // main prints an error once and in one line
	cfg.declare(fs)

	if err := readEnvironment(fs); err != nil {
		return nil, usageError{err}
	}
	err := option.Parse(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil, help(fs, stdout)
	case err != nil:
		return nil, usageError{fmt.Errorf("%w; -h lists the options", err)}
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
	if cfg.origins, err = auth.ParseOrigins(cfg.given.origins); err != nil {
		return nil, usageError{fmt.Errorf("-origins: %w", err)}
	}
	if cfg.key, err = parseKey(cfg.given.key); err != nil {
		return nil, usageError{err}
	}
	if cfg.private, err = auth.ParseRooms(cfg.given.private); err != nil {
		return nil, usageError{fmt.Errorf("-private: %w", err)}
	}
	if err := cfg.check(); err != nil {
		return nil, usageError{err}
	}
	return &cfg, nil
}

// declare declares all options with their defaults.
func (c *config) declare(fs *flag.FlagSet) {
	fs.StringVar(&c.addr, "addr", ":8080", "public listener: `host:port`, or unix:PATH for a proxy on the same machine")
	fs.StringVar(&c.path, "path", "", "`path` under which everything is served, such as /live, if a proxy in front does not strip it")
	fs.StringVar(&c.tlsCert, "tls-cert", "", "certificate `file` for HTTPS and HTTP/2 on -addr; a renewed certificate is used without a restart")
	fs.StringVar(&c.tlsKey, "tls-key", "", "`file` with the key of the certificate")
	c.http2 = true
	fs.Var((*option.OnOff)(&c.http2), "http2", "offer HTTP/2 over TLS; with it off, TLS streams cost no more than plain ones")
	fs.Var((*option.OnOff)(&c.h2c), "h2c", "HTTP/2 without TLS too, for a proxy that speaks it")
	c.trusted = loopback()
	fs.Var(&c.trusted, "trusted-proxies", "address `ranges` whose X-Forwarded-For is trusted; empty = none; comma-separated CIDRs")
	fs.StringVar(&c.given.origins, "origins", "", "other `origins` whose pages may subscribe, comma-separated: https://example.com, https://*.example.com, "+
		"null (files), * (any)")
	fs.StringVar(&c.token, "token", "", "bearer `token` for POST /emit; emit is off without one")
	fs.StringVar(&c.given.key, "key", "", "`key` that signs the tokens (JWT) of private rooms: "+
		"a secret of at least 32 bytes, or @FILE with a secret or a PEM public key")
	fs.StringVar(&c.given.private, "private", "", "`rooms` that require a token, comma-separated, such as team-*")
	c.maxEvent = 64 << 10
	fs.Var(&c.maxEvent, "max-event", "largest body of POST /emit, a `size` from 1KiB to 16MiB")
	fs.Var(option.Duration(&c.heartbeat, 10*time.Second, 100*time.Millisecond, 10*time.Minute), "heartbeat",
		"longest silence on a stream, a `duration` from 100ms to 10m")
	fs.Var(option.Duration(&c.linger, 2*time.Second, 0, 10*time.Minute), "linger",
		"how long a client id stays counted after its stream broke without a goodbye, a `duration` from 0 to 10m")
	fs.Var(option.Duration(&c.maxAge, 0, time.Second, 24*time.Hour).OrZero(), "max-age",
		"maximum age of a proxied stream without an id, a `duration` from 1s to 24h; 0 = never")
	fs.Var(option.Number(&c.history, 1000, 1, 1_000_000), "history", "`events` kept per room, 1 to 1000000")
	fs.Var(option.Duration(&c.historyAge, 10*time.Minute, time.Second, 24*time.Hour), "history-age",
		"how long an event is kept, a `duration` from 1s to 24h")
	c.maxStreams = auto
	fs.Var(&c.maxStreams, "max-streams", "open `streams`; the rest get 503; 0 = no limit")
	c.maxPerIP = auto
	fs.Var(&c.maxPerIP, "max-streams-per-ip", "open `streams` per address (IPv6: per /64); the rest get 503; 0 = no limit")
	fs.Var(option.Number(&c.maxRate, 0, 0, 1_000_000), "max-stream-rate",
		"new `streams` per second per address, with bursts of ten times that; the rest get 429; 0 = no limit; IPv6: per /64")
	fs.StringVar(&c.nats, "nats", "", "`URLs` of NATS servers, comma-separated; all nodes with the same ones are one headcount")
	fs.StringVar(&c.natsPrefix, "nats-prefix", "headcount", "first `word` of all names on NATS, so that several headcounts can share it")
	fs.Var(option.Duration(&c.drain, 10*time.Second, 0, time.Hour), "drain",
		"how long a stopping server takes to end its streams, a `duration` from 0 to 1h")
	fs.StringVar(&c.state, "state", "", "`file` that carries state across a stop and start: history, users and keys")
	fs.StringVar(&c.admin, "admin", defaultAdmin,
		"private listener: /stats, /metrics, /debug/pprof/; empty = off; `host:port` or unix:PATH")
	fs.StringVar(&c.log, "log", "text", "log `format` on standard error: text or json")
	fs.Var((*level)(&c.logLevel), "log-level", "lowest `level` to log: debug (also what single clients do), info, warn or error")
	fs.Var((*option.OnOff)(&c.health), "health", "check the health of the server running with these options; exit 0 if healthy, 1 if not")
	fs.Var((*option.OnOff)(&c.version), "version", "print the version and exit")
	fs.Var((*option.OnOff)(&c.dev), "dev", "assets and templates from disk, read on every request")
	fs.StringVar(&c.writer, "writer", "auto",
		"`how` streams are written; for comparisons: epoll (no io_uring) or stream (portable)")
}

const defaultAdmin = "127.0.0.1:8081"

// backend returns the options of the connection to NATS.
func (c *config) backend(log *slog.Logger) nats.Options {
	return nats.Options{Servers: c.nats, Prefix: c.natsPrefix, History: c.history, HistoryAge: c.historyAge, Log: log}
}

// headcount returns the options of the counter.
func (c *config) headcount(log *slog.Logger) headcount.Options {
	return headcount.Options{
		Heartbeat:       c.heartbeat,
		Linger:          orNone(c.linger),
		Drain:           orNone(c.drain),
		Origins:         c.origins,
		TrustedProxies:  append([]netip.Prefix{}, c.trusted...), // not nil, because nil means the default
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

// orNone returns -1 for 0. Here 0 means none, but in [headcount.Options] 0 means the default and -1 means none.
func orNone[T int | time.Duration](n T) T {
	if n == 0 {
		return -1
	}
	return n
}

// adminName returns the host of -admin.
func (c *config) adminName() string {
	host, _, _ := net.SplitHostPort(c.admin) // check has validated the address
	return host
}

func (c *config) check() error {
	if c.nats != "" && c.state != "" {
		return errors.New("-state is for a single node, and with -nats the other nodes keep the state; use one of the two")
	}
	if c.nats != "" {
		options := c.backend(nil)
		if bad := (*nats.OptionError)(nil); errors.As(options.Check(), &bad) {
			return fmt.Errorf("%s: %w", map[string]string{"Servers": "-nats", "Prefix": "-nats-prefix"}[bad.Option], bad.Err)
		}
	}
	if _, _, err := splitAddr(c.addr); err != nil {
		return fmt.Errorf("-addr %q: %w; try :8080", c.addr, err)
	}
	if c.maxEvent < 1<<10 || c.maxEvent > 16<<20 {
		return fmt.Errorf("-max-event %v is out of range; give 1KiB to 16MiB", c.maxEvent)
	}
	if !ascii(c.token) {
		return errors.New("-token has a space or another character that cannot go into a header; use visible ASCII only")
	}
	if len(c.private) > 0 && c.key == nil {
		return errors.New("-private needs -key, because without a key there are no tokens for these rooms")
	}
	if c.log != "text" && c.log != "json" {
		return fmt.Errorf("-log %q is unknown; give text or json", c.log)
	}
	if c.writer != "auto" && c.writer != "epoll" && c.writer != "stream" {
		return fmt.Errorf("-writer %q is unknown; give auto, epoll or stream", c.writer)
	}
	if c.admin != "" {
		if _, _, err := splitAddr(c.admin); err != nil {
			return fmt.Errorf("-admin %q: %w; try 127.0.0.1:8081, or nothing to switch it off", c.admin, err)
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
