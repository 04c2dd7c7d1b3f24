package httpapi

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"headcount/internal/auth"
	"headcount/internal/engine"
)

// Options are the options of a [Handler].
type Options struct {
	Engine *engine.Engine
	// Authorize returns an error if a request is not allowed. nil: everybody may subscribe, nobody may emit.
	Authorize func(*http.Request, Access) error
	// Identify names the user that sent a request; "" = its client id. nil: always its client id.
	Identify func(*http.Request) string
	Origins  auth.Origins
	Trusted  []netip.Prefix // proxies whose X-Forwarded-For is trusted
	MaxEvent int64          // largest body of an emit, in bytes; 0 = 64 KiB
	Log      *slog.Logger   // nil = none
	Observer engine.Observer
}

// Access is what a request wants to do.
type Access struct {
	Room  string
	Event string // event to emit to the room; "" = to read the room

	until *time.Time
}

// EndAt sets the end of the permission. A stream then ends too.
func (a Access) EndAt(t time.Time) {
	if a.until != nil { // it is nil in an Access that the host has made
		*a.until = t
	}
}

// Handler serves the API. It is an [http.Handler].
type Handler struct {
	opt    Options
	engine *engine.Engine
	errors Errors
	routes map[string]route

	strangers strangers
	next      atomic.Pointer[http.Handler] // of another process that has taken over
}

// route is the handler of a path.
type route struct {
	methods []string
	serve   func(http.ResponseWriter, *http.Request) error
	shared  bool // pages of other origins may use it
}

// New returns a handler.
func New(opt Options) *Handler {
	if opt.MaxEvent == 0 {
		opt.MaxEvent = 64 << 10
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Observer == nil {
		opt.Observer = engine.Unobserved{}
	}
	h := &Handler{opt: opt, engine: opt.Engine, errors: Errors{Log: opt.Log, Refused: opt.Observer.Refused}}
	read, write := []string{http.MethodGet, http.MethodHead}, []string{http.MethodPost}
	h.routes = map[string]route{
		"events":    {read, h.events, true},
		"count":     {read, h.count, true},
		"badge.svg": {read, h.badge, false},
		"alive":     {write, h.alive, true},
		"leave":     {write, h.leave, true},
		"emit":      {write, h.emit, false},
	}
	return h
}

// ServeHTTP serves one request. Its path must be relative to the mount point.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.serve(w, r); err != nil && !h.moved(w, r, err) {
		h.errors.Write(w, r, err)
	}
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name != "events" { // the first write of a stream must stay small
		w.Header().Set("X-Content-Type-Options", "nosniff")
	}
	to, ok := h.routes[name]
	if !ok {
		return NotFound("there is nothing here; the stream is at events, the count at count")
	}
	if to.shared && r.Method == http.MethodOptions && h.opt.Origins.Preflight(w.Header(), r, to.methods) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err := Allow(w, r, to.methods...); err != nil {
		return err
	}
	return to.serve(w, r)
}

// authorize checks whether the request is allowed, and returns the end of the permission; zero = never.
func (h *Handler) authorize(w http.ResponseWriter, r *http.Request, room, event string) (until time.Time, err error) {
	if h.opt.Authorize == nil {
		return until, nil
	}
	err = h.opt.Authorize(r, Access{Room: room, Event: event, until: &until})
	if err != nil || !until.IsZero() {
		// The width of a picture reveals the count as well, and a page of another site can measure it.
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	}
	if err != nil {
		return until, forbidden(err)
	}
	return until, nil
}

// address returns the prefix under which limits count a request.
func (h *Handler) address(r *http.Request) netip.Prefix { return auth.Address(r, h.opt.Trusted) }

// user returns the id under which the request's user is counted; "" = its client ids.
func (h *Handler) user(r *http.Request) string {
	if h.opt.Identify == nil {
		return ""
	}
	name := h.opt.Identify(r)
	if name == "" {
		return ""
	}
	return engine.Identified(name)
}
