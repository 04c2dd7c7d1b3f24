package web

import (
	"net/http"
	"net/http/pprof"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// transport is the way that a stream's bytes take.
type transport string

const (
	byEpoll  transport = "epoll"
	byStream transport = "stream"
	byPoll   transport = "poll"
)

// Admin returns the routes of the private listener.
func (s *Server) Admin() http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		_, _ = s.writeError(err, c, "there is nothing here; the page is at /stats")
	}
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{DisableStackAll: true, LogErrorFunc: s.logPanic}))
	e.Use(protect, s.guard)

	get := func(path string, h echo.HandlerFunc) {
		e.Match([]string{http.MethodGet, http.MethodHead}, path, h)
	}
	get("/", func(c echo.Context) error { return c.Redirect(http.StatusFound, "stats") })
	get("/stats", s.statsPage)
	get("/stats/events", s.statsEvents)
	get("/assets/*", s.pages.asset)
	get("/metrics", echo.WrapHandler(promhttp.HandlerFor(s.registry(), promhttp.HandlerOpts{})))
	get("/debug/pprof/*", echo.WrapHandler(http.HandlerFunc(pprof.Index)))
	get("/debug/pprof/cmdline", echo.WrapHandler(http.HandlerFunc(pprof.Cmdline)))
	get("/debug/pprof/profile", echo.WrapHandler(http.HandlerFunc(pprof.Profile)))
	get("/debug/pprof/symbol", echo.WrapHandler(http.HandlerFunc(pprof.Symbol)))
	get("/debug/pprof/trace", echo.WrapHandler(http.HandlerFunc(pprof.Trace)))
	return e
}

// transports counts the open streams, all and by their way.
func (s *Server) transports() (int, map[transport]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ways := map[transport]int{byEpoll: 0, byStream: 0, byPoll: 0}
	for st := range s.streams {
		ways[st.by]++
	}
	return len(s.streams), ways
}
