// Command server counts who is connected and tells all of them, over plain HTTP.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"headcount"
	"headcount/internal/admin"
	"headcount/internal/engine"
	"headcount/internal/logqueue"
	"headcount/internal/version"
	"headcount/nats"
)

// logTime is how long a program that ends waits for a log that nobody reads.
const logTime = time.Second

func main() {
	ctx, stop := notified(context.Background())
	defer stop()
	stderr := logqueue.New(os.Stderr)
	code := status(stderr, run(ctx, os.Args[1:], os.Stdout, stderr))
	stderr.Close(logTime)
	os.Exit(code)
}

// status turns the error of run into words and an exit status.
func status(stderr io.Writer, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "headcount: %v\n", err)
		return 2
	default:
		fmt.Fprintf(stderr, "headcount: %v\n", err)
		return 1
	}
}

// goodbyeTime is how long the goodbye to the other nodes may take, after the drain.
const goodbyeTime = 10 * time.Second

// run is the whole program, in the order in which things start. It returns when ctx
// is done and every stream has been handed over.
func run(ctx context.Context, args []string, stdout io.Writer, stderr *logqueue.Queue) error {
	cfg, err := parseConfig(args, stdout)
	if err != nil || cfg == nil {
		return err
	}
	if cfg.health {
		return checkHealth(ctx, cfg, stdout)
	}
	ignoreBrokenPipes()
	log := newLog(cfg.log, stderr)
	if len(cfg.unknown) > 0 {
		log.Warn("variables of the environment that are no options; -h lists those that are", "names", cfg.unknown)
	}
	log = slog.New(newRateLimited(log.Handler()))
	var backend headcount.Backend
	if cfg.nats != "" {
		if backend, err = nats.New(cfg.backend(log)); err != nil {
			return err
		}
	}
	site, err := newApp(cfg, backend, log)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), goodbyeTime)
		defer cancel()
		_ = site.live.Shutdown(ctx) // where it was not done below
	}()
	operators := admin.New(admin.Options{
		Node: site.live, Metrics: site.metrics, Pages: site.pages, Heartbeat: cfg.heartbeat,
		Name: cfg.adminName(), Version: version.String(), Log: log,
	})

	idle := newIdleConns(idleOfAddress(engine.FileLimit(), runtime.GOMAXPROCS(0)), cfg.trusted)
	public := publicServer(site.handler(), cfg.path, idle, cfg.protocols(), log)
	if cfg.tlsCert != "" {
		cert, err := newCertificate(cfg.tlsCert, cfg.tlsKey, log)
		if err != nil {
			return err
		}
		public.TLSConfig = &tls.Config{GetCertificate: cert.get, MinVersion: tls.VersionTLS12, NextProtos: cfg.nextProtos()}
	}
	private := &http.Server{Handler: closeAfterChunks(operators), ReadHeaderTimeout: headerTime, ErrorLog: public.ErrorLog}

	listener, err := listen(ctx, "-addr", cfg.addr)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	var running sync.WaitGroup
	defer running.Wait()
	if cfg.admin != "" {
		adminListener, err := listen(ctx, "-admin", cfg.admin)
		switch {
		case err == nil:
			running.Go(func() { serve(private, adminListener, failed) })
			defer private.Close() // pprof may be under way: nobody waits for it
			log.Info("admin listening", "addr", adminListener.Addr().String())
		case cfg.admin == defaultAdmin:
			// A second server on one machine, most likely; it works without.
			log.Warn("no admin listener", "error", err)
		default:
			return errors.Join(err, listener.Close())
		}
	}

	background, stop := context.WithCancel(context.Background())
	running.Go(func() { operators.Run(background) })
	defer stop()

	running.Go(func() { serve(public, listener, failed) })
	stats := site.live.Stats()
	log.Info("listening", "addr", listener.Addr().String(), "url", pageURL(listener.Addr(), cfg.tlsCert != "")+cfg.path,
		"max_streams", stats.MaxStreams, "open_files", engine.FileLimit(), "writer", string(stats.Writer))

	if files := engine.FileLimit(); files > 0 && stats.MaxStreams > files-engine.ReservedFiles(runtime.GOMAXPROCS(0)) {
		log.Warn("not as many streams fit as -max-streams says, for each is an open file; raise the open-file limit", "open_files", files)
	}

	select {
	case err := <-failed:
		return errors.Join(err, public.Close())
	case <-ctx.Done():
	}
	log.Info("stopping", "streams", site.live.Stats().Streams, "drain", cfg.drain)
	site.doctor.Stop()
	// Also with -drain 0 the last bytes need a moment.
	last, cancel := context.WithTimeout(context.Background(), max(cfg.drain, 500*time.Millisecond))
	defer cancel()
	goodbye, cancel := context.WithTimeout(context.Background(), cfg.drain+goodbyeTime)
	defer cancel()
	// Streams first: Server.Shutdown waits for them, and knows nothing of hijacked ones.
	if err := site.live.Shutdown(goodbye); err != nil {
		log.Warn("not every stream ended cleanly", "error", err)
	}
	operators.Stop() // who watches sees the end
	if err := public.Shutdown(last); err != nil {
		_ = public.Close() // what did not end in time is cut
	}
	log.Info("stopped")
	return nil
}

// newLog returns a log that holds nobody up.
func newLog(form string, stderr *logqueue.Queue) *slog.Logger {
	if form == "json" {
		return slog.New(stderr.Handler(slog.NewJSONHandler(stderr, nil)))
	}
	return slog.New(stderr.Handler(slog.NewTextHandler(stderr, nil)))
}

// serve answers on l until the server is closed, and says so if it ended otherwise.
func serve(s *http.Server, l net.Listener, failed chan<- error) {
	var err error
	if s.TLSConfig != nil {
		err = s.Serve(headcount.TLSListener(l, s.TLSConfig))
	} else {
		err = s.Serve(l)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
}
