package admin

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headcount/internal/engine"
	"headcount/internal/httpapi"
	"headcount/internal/page"
	"headcount/internal/presence"
)

// Node is the node that an [Admin] shows.
type Node interface {
	Stats() engine.Stats
	Rooms() []presence.Room // rooms that have users
	RoomStats(room string) engine.RoomStats
}

// Options are the options of an [Admin].
type Options struct {
	Node      Node
	Metrics   *Metrics
	Pages     *page.Pages
	Heartbeat time.Duration // of the stream of /stats
	Name      string        // an additional host name for the listener, beside the safe ones
	Version   string
	Log       *slog.Logger
}

// Admin serves the private listener. It is an [http.Handler].
type Admin struct {
	opt       Options
	errors    httpapi.Errors
	dashboard *dashboard
	routes    *http.ServeMux
}

// New returns the handler of the private listener.
func New(opt Options) *Admin {
	a := &Admin{opt: opt, errors: httpapi.Errors{Log: opt.Log}, dashboard: newDashboard(time.Now()), routes: http.NewServeMux()}
	get := func(path string, serve func(http.ResponseWriter, *http.Request) error) {
		a.routes.HandleFunc(path, a.errors.Handle(func(w http.ResponseWriter, r *http.Request) error {
			if err := httpapi.Allow(w, r, http.MethodGet, http.MethodHead); err != nil {
				return err
			}
			return serve(w, r)
		}))
	}
	get("/{$}", func(w http.ResponseWriter, r *http.Request) error {
		// http.Redirect would make the path absolute, but a proxy may serve it under another path.
		w.Header().Set("Location", "stats")
		w.WriteHeader(http.StatusFound)
		return nil
	})
	get("/", func(http.ResponseWriter, *http.Request) error {
		return httpapi.NotFound("there is nothing here; the page is at /stats")
	})
	get("/stats", a.stats)
	get("/stats/events", a.statsEvents)
	get("/docs/", func(w http.ResponseWriter, r *http.Request) error {
		return opt.Pages.Docs(w, r, strings.TrimPrefix(r.URL.Path, "/docs/"))
	})
	get("/assets/", func(w http.ResponseWriter, r *http.Request) error {
		return opt.Pages.Asset(w, r, strings.TrimPrefix(r.URL.Path, "/assets/"))
	})
	a.routes.Handle("/metrics", promhttp.HandlerFor(registry(opt.Metrics, opt.Node.Stats), promhttp.HandlerOpts{}))
	a.routes.HandleFunc("/debug/pprof/", pprof.Index)
	a.routes.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	a.routes.HandleFunc("/debug/pprof/profile", pprof.Profile)
	a.routes.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	a.routes.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return a
}

// ServeHTTP serves one request.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := checkAccess(w, r, a.opt.Name); err != nil {
		a.errors.Write(w, r, err)
		return
	}
	a.routes.ServeHTTP(w, r)
}

// Run samples the number of users once a second and publishes the stats to watchers, until ctx is done.
func (a *Admin) Run(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-second.C:
			a.look(now)
		}
	}
}

// Stop ends the streams of watchers and refuses new ones. It does not wait.
func (a *Admin) Stop() { a.dashboard.end() }
