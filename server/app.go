package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"headcount"
	"headcount/internal/admin"
	"headcount/internal/auth"
	"headcount/internal/doctor"
	"headcount/internal/httpapi"
	"headcount/internal/page"
	"headcount/internal/version"
)

// app is the public site. It adds the page, the doctor and the health checks to headcount.
type app struct {
	live    *headcount.Server
	node    string // name of this node, "" if there are no others
	policy  *auth.Policy
	origins auth.Origins
	pages   *page.Pages
	doctor  *doctor.Doctor
	errors  httpapi.Errors
	metrics *admin.Metrics
}

// newApp returns an app that has not started.
func newApp(cfg *config, log *slog.Logger) (*app, error) {
	a := &app{
		policy:  &auth.Policy{Token: cfg.token, Key: cfg.key, Private: cfg.private, Origins: cfg.origins},
		origins: cfg.origins,
		doctor:  doctor.New(cfg.heartbeat, cfg.linger),
		metrics: admin.NewMetrics(),
	}
	a.errors = httpapi.Errors{Log: log, Refused: a.metrics.Refused}
	var err error
	if a.pages, err = page.New(page.Options{
		Dev: cfg.dev, Version: version.String(),
		Count: func(room string) int { return a.live.Count(room) }, Node: func() string { return a.node },
	}); err != nil {
		return nil, err
	}
	a.errors.Page = a.pages.Error
	return a, nil
}

// start makes the counter, from an earlier snapshot if there is one.
func (a *app) start(cfg *config, backend headcount.Backend, resume *headcount.Snapshot, log *slog.Logger) (err error) {
	options := cfg.headcount(log)
	options.Backend, options.Resume = backend, resume
	options.Authorize = a.authorize
	options.Observer = observer{a.metrics, a.pages}
	if a.live, err = headcount.New(options); err != nil {
		return err
	}
	a.node = a.live.Stats().Node
	return nil
}

// observer passes events to the metrics and to the page, which charts the count.
type observer struct {
	*admin.Metrics
	pages *page.Pages
}

// Counted implements [headcount.Observer].
func (o observer) Counted(room string, users int) { o.pages.Counted(room, users) }

// handler returns what the public listener serves.
func (a *app) handler() http.Handler { return httpapi.Bounded(a.routes()) }

// routes returns all routes. headcount serves what the site does not serve itself.
func (a *app) routes() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = a.answerError
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{DisableStackAll: true, LogErrorFunc: a.logPanic}))
	e.Use(secure)

	get := func(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) {
		e.Match([]string{http.MethodGet, http.MethodHead}, path, h, m...)
	}
	get("/", a.home)
	get("/assets/*", a.asset)
	get("/docs", func(c echo.Context) error { return c.Redirect(http.StatusFound, "docs/") })
	get("/docs/*", func(c echo.Context) error { return a.pages.Docs(c.Response(), c.Request(), c.Param("*")) })
	get("/socket.io/socket.io.js", func(c echo.Context) error { return a.pages.Client(c.Response(), c.Request()) })
	get("/favicon.ico", a.favicon)
	get("/doctor/:probe", a.probe)
	get("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	get("/readyz", a.ready)
	e.POST("/emit", echo.WrapHandler(a.live), a.authenticate)
	for _, path := range []string{"/events", "/count", "/badge.svg", "/alive", "/leave"} {
		e.RouteNotFound(path, echo.WrapHandler(a.live)) // with any method, because headcount knows which it allows
	}

	return e
}

// secure sets the security headers of every response.
func secure(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.IsTLS() {
			c.Response().Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		return next(c)
	}
}

// authorize implements Options.Authorize of [headcount.Options].
func (a *app) authorize(r *http.Request, want headcount.Access) error {
	until, err := a.policy.Authorize(r, want.Room, want.Event)
	want.EndAt(until)
	return err
}

// authenticate refuses emit requests without a token before it reads their body.
func (a *app) authenticate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := a.policy.Authenticate(c.Request()); err != nil {
			return err
		}
		return next(c)
	}
}

func (a *app) home(c echo.Context) error {
	room, err := httpapi.Room(c.Request())
	if err != nil {
		return err
	}
	until, err := a.policy.Authorize(c.Request(), room, "")
	if err != nil || !until.IsZero() {
		c.Response().Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	}
	if err != nil {
		return err
	}
	return a.pages.Home(c.Response(), c.Request())
}

func (a *app) asset(c echo.Context) error {
	return a.pages.Asset(c.Response(), c.Request(), c.Param("*"))
}

// favicon answers browsers that request an icon although the page names none.
func (a *app) favicon(c echo.Context) error {
	icon, err := a.pages.Icon()
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusFound, icon)
}

func (a *app) probe(c echo.Context) error {
	a.origins.Greet(c.Response().Header(), c.Request())
	return a.doctor.Probe(c.Response(), c.Request(), c.Param("probe"))
}

func (a *app) ready(c echo.Context) error {
	stats := a.live.Stats()
	switch {
	case stats.Ready != nil:
		return stats.Ready
	case stats.Degraded != "":
		return c.String(http.StatusOK, "ok, but "+stats.Degraded+"\n")
	}
	return c.String(http.StatusOK, "ok\n")
}

// answerError turns errors of the site's own routes into {"error":"…"}, the form of headcount's errors.
func (a *app) answerError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	switch {
	case errors.Is(err, echo.ErrNotFound):
		err = httpapi.NotFound("there is nothing here; the page is at / and the stream at /events")
	case errors.Is(err, echo.ErrMethodNotAllowed):
		// Echo lists OPTIONS for every route, but the routes do not support it.
		allow := strings.TrimPrefix(c.Response().Header().Get("Allow"), "OPTIONS, ")
		err = httpapi.Allow(c.Response(), c.Request(), strings.Split(allow, ", ")...)
	}
	a.errors.Write(c.Response(), c.Request(), err)
}

// logPanic logs where a handler panicked. The request ends with 500, and the server continues.
func (a *app) logPanic(c echo.Context, err error, stack []byte) error {
	return fmt.Errorf("handler panicked: %w\n%s", err, stack)
}
