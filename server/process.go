package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
	"headcount/internal/version"
	"headcount/nats"
)

// process is everything that serves.
type process struct {
	cfg        *config
	log        *slog.Logger
	site       *app
	operators  *admin.Admin
	public     *http.Server
	private    *http.Server
	listeners  map[string]*listener // by option and address
	switchover switchover
	before     *predecessor // nil if there is none

	requests <-chan os.Signal // to upgrade
	ignore   func()           // stops taking requests to upgrade
}

// goodbyeTime is how long the goodbye to the other nodes may take after the drain.
const goodbyeTime = 10 * time.Second

// lastTime is how long streams have for their last bytes, even with -drain 0.
const lastTime = 500 * time.Millisecond

// newProcess makes all parts in the order of their dependencies. It continues with the state of the predecessor, or
// with the state in the file of -state. Nothing runs yet.
func newProcess(ctx context.Context, cfg *config, before *predecessor, log *slog.Logger) (p *process, err error) {
	p = &process{cfg: cfg, log: log, before: before, listeners: make(map[string]*listener), switchover: switchover{idle: newIdleConns(idleOfAddress(engine.FileLimit(), runtime.GOMAXPROCS(0)), cfg.trusted)}}
	p.requests, p.ignore = upgrades() // early, because the signal would end this process
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	var secure *tls.Config
	if cfg.tlsCert != "" {
		cert, err := newCertificate(cfg.tlsCert, cfg.tlsKey, log)
		if err != nil {
			return p, err
		}
		secure = &tls.Config{GetCertificate: cert.get, MinVersion: tls.VersionTLS12, NextProtos: cfg.nextProtos()}
	}
	var backend headcount.Backend
	if cfg.nats != "" {
		if backend, err = nats.New(cfg.backend(log)); err != nil {
			return p, err
		}
	}
	if p.site, err = newApp(cfg, log); err != nil {
		return p, err
	}
	state, err := before.receive() // subscribers wait from here until ready
	if err != nil {
		return p, err
	}
	if err := p.listen(ctx, before); err != nil {
		return p, err
	}
	if state == nil && cfg.state != "" {
		if err := checkState(cfg.state); err != nil {
			return p, err
		}
		state = loadState(cfg.state, log)
	}
	if err = p.site.start(cfg, backend, state, log); err != nil {
		return p, err
	}
	p.operators = admin.New(admin.Options{
		Node: p.site.live, Metrics: p.site.metrics, Pages: p.site.pages, Heartbeat: cfg.heartbeat,
		Name: cfg.adminName(), Version: version.String(), Log: log,
	})
	p.public = publicServer(p.site.handler(), cfg.path, &p.switchover, cfg.protocols(), log)
	p.public.TLSConfig = secure
	p.private = &http.Server{Handler: closeAfterChunks(p.operators), ReadHeaderTimeout: headerTime, ErrorLog: p.public.ErrorLog}
	conns, err := before.ready(log) // from here on this process owns the streams
	if err != nil {
		return p, err
	}
	return p, p.publicListener().Resume(p.switchover.idle.between(conns)...)
}

// Names of listeners.
func (c *config) publicName() string    { return "-addr " + c.addr }
func (c *config) adminListener() string { return "-admin " + c.admin }

func (p *process) publicListener() *listener { return p.listeners[p.cfg.publicName()] }

// listen opens the listeners that were not taken over.
func (p *process) listen(ctx context.Context, before *predecessor) error {
	open := func(name, option, addr string) error {
		l, err := before.listener(name)
		inherited := l != nil
		if err == nil && l == nil {
			l, err = listen(ctx, option, addr)
		}
		if err != nil {
			return err
		}
		p.listeners[name] = &listener{Listener: l, inherited: inherited}
		return nil
	}
	if err := open(p.cfg.publicName(), "-addr", p.cfg.addr); err != nil || p.cfg.admin == "" {
		return err
	}
	err := open(p.cfg.adminListener(), "-admin", p.cfg.admin)
	if err != nil && p.cfg.admin == defaultAdmin {
		// Most likely this is a second server on one machine. It works without the listener.
		p.log.Warn("running without the admin listener", "error", err)
		return nil
	}
	return err
}

// close releases what newProcess has made.
func (p *process) close() {
	p.ignore()
	for _, l := range p.listeners {
		_ = l.Close()
	}
}

// run serves until ctx is done and every stream has ended, or until another process has taken over.
func (p *process) run(ctx context.Context, self program) error {
	defer p.ignore()
	failed := make(chan error, 2)
	var running sync.WaitGroup
	defer running.Wait()
	background, stop := context.WithCancel(context.Background())
	defer stop()
	running.Go(func() { p.operators.Run(background) })
	p.site.live.Thaw()
	defer p.private.Close() // does not wait for pprof
	if l := p.listeners[p.cfg.adminListener()]; l != nil {
		running.Go(func() { serve(p.private, l, failed) })
		p.log.Info("admin listening", "addr", l.Addr().String())
	}
	var l net.Listener = plainListener{p.publicListener()}
	if p.cfg.tlsCert != "" {
		l = headcount.TLSListener(p.publicListener(), p.public.TLSConfig)
	}
	running.Go(func() { serve(p.public, l, failed) })
	if late := p.before.lateConns(l.Addr()); late != nil {
		running.Go(func() { _ = p.public.Serve(late) }) // it ends with the other process
	}
	stats := p.site.live.Stats()
	p.log.Info("listening", "addr", l.Addr().String(), "url", pageURL(l.Addr(), p.cfg.tlsCert != "")+p.cfg.path,
		"max_streams", stats.MaxStreams, "open_files", engine.FileLimit(), "writer", string(stats.Writer))
	if files := engine.FileLimit(); files > 0 && stats.MaxStreams > files-engine.ReservedFiles(runtime.GOMAXPROCS(0)) {
		p.log.Warn("-max-streams is higher than the open-file limit allows; raise that limit", "open_files", files)
	}
	p.notify("READY=1")

	for {
		select {
		case err := <-failed:
			over, cancel := context.WithTimeout(context.Background(), goodbyeTime)
			defer cancel()
			return errors.Join(err, p.public.Close(), p.site.live.Shutdown(over))
		case <-ctx.Done():
			return p.stop()
		case <-p.requests:
			p.notify("RELOADING=1")
			u := upgrade{program: self, live: p.site.live, listeners: p.listeners, public: p.publicListener(), switchover: &p.switchover, log: p.log}
			next, err := u.run(ctx)
			if err != nil {
				p.log.Error("not upgraded", "error", err)
				p.notify("READY=1")
				continue
			}
			p.notify(fmt.Sprintf("MAINPID=%d\nREADY=1", next.pid()))
			return p.leave(next)
		}
	}
}

// notify reports the state to the service manager.
func (p *process) notify(state string) {
	if err := notify(state); err != nil {
		p.log.Warn("could not notify the service manager", "error", err)
	}
}

// stop ends every stream, tells the clients to reconnect, and says goodbye to the other nodes.
func (p *process) stop() error {
	p.notify("STOPPING=1")
	p.log.Info("stopping", "streams", p.site.live.Stats().Streams, "drain", p.cfg.drain)
	p.site.doctor.Stop()
	last, cancel := context.WithTimeout(context.Background(), max(p.cfg.drain, lastTime))
	defer cancel()
	goodbye, cancel := context.WithTimeout(context.Background(), p.cfg.drain+goodbyeTime)
	defer cancel()
	// End the streams first. Server.Shutdown waits for them, and does not know hijacked ones.
	if err := p.site.live.Shutdown(goodbye); err != nil {
		p.log.Warn("some streams were cut", "error", err)
	}
	p.operators.Stop() // the pages of /stats see the end
	if err := p.public.Shutdown(last); err != nil {
		_ = p.public.Close() // cuts what has not ended in time
	}
	switch {
	case p.cfg.state == "":
	case isForeign(p.cfg.state):
		p.log.Warn("state not saved, because its file cannot be read or belongs to something else; give -state another file", "file", p.cfg.state)
	default:
		state, err := p.site.live.Freeze()
		if err != nil {
			return err
		}
		if err := saveState(p.cfg.state, state); err != nil {
			return err
		}
	}
	p.log.Info("stopped")
	return nil
}

// leave ends what was not handed over to the next process, and passes on the requests that were read too late.
func (p *process) leave(next *successor) error {
	p.switchover.next.Store(next)
	p.switchover.resume()
	for _, l := range p.listeners {
		l.Leave()
	}
	p.site.doctor.Stop()
	p.operators.Stop()
	last, cancel := context.WithTimeout(context.Background(), max(p.cfg.drain, lastTime))
	defer cancel()
	var ending sync.WaitGroup
	ending.Go(func() { _ = p.private.Shutdown(last) }) // run closes what is left
	ending.Go(func() {
		p.switchover.idle.rest(last)
		p.before.awaitLate(last)
		if err := p.public.Shutdown(last); err != nil {
			_ = p.public.Close()
		}
	})
	err := p.site.live.Release(last, next)
	ending.Wait()
	_ = next.Close() // it has everything
	if err != nil {
		p.log.Warn("some streams that stayed were cut", "error", err)
	}
	return nil
}
