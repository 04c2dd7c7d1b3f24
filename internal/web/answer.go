package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"headcount/internal/sse"
)

// maxIDs is how many client ids one request may name.
const maxIDs = 100

// maxBody is the largest body of a POST but /emit, in bytes.
const maxBody = 16 << 10

// count serves GET /count: JSON, or the bare number to whoever asks for text.
func (s *Server) count(c echo.Context) error {
	q, err := parseQuery(c.Request())
	if err != nil {
		return err
	}
	room, err := roomOf(q)
	if err != nil {
		return err
	}
	if _, err := s.admit(c, room); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept")
	users := s.everywhere(c.Request().Context(), room)
	if prefers(c.Request(), "text/plain") {
		return c.String(http.StatusOK, strconv.Itoa(users))
	}
	return c.JSON(http.StatusOK, struct {
		Room  string `json:"room"`
		Users int    `json:"users"`
	}{room, users})
}

// prefers says that the Accept header of a request likes that kind of text more than JSON.
// Of two that it likes the same, it gets the first that it names, and JSON if it names
// neither.
func prefers(r *http.Request, kind string) bool {
	type like struct {
		q  float64
		at int
	}
	likes := make(map[string]like)
	for i, part := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		if err != nil {
			q = 1
		}
		likes[name] = like{q, i}
	}
	// "The most specific reference has precedence": RFC 9110, section 12.5.1.
	best := func(names ...string) (l like) {
		for _, name := range names {
			if l, ok := likes[name]; ok {
				return l
			}
		}
		return l
	}
	text, data := best(kind, "text/*"), best(echo.MIMEApplicationJSON, "application/*", "*/*")
	return text.q > data.q || text.q == data.q && text.q > 0 && text.at < data.at
}

// users is the body of POST /alive and POST /leave.
type users struct {
	Room  string   `json:"room"`
	IDs   []string `json:"ids"`
	Grace float64  `json:"grace"` // of a goodbye, in seconds: it holds unless they are back before
}

// maxGrace is the longest grace of a goodbye, in seconds.
const maxGrace = 5

// readUsers reads JSON whatever its content type: sendBeacon says text/plain.
func readUsers(c echo.Context) (users, error) {
	var u users
	body, err := readBody(c, maxBody)
	if err != nil {
		return u, err
	}
	if err := json.Unmarshal(body, &u); err != nil {
		return u, badRequest(fmt.Errorf(`body is not {"room":"…","ids":["…"]}: %w`, err))
	}
	if u.Room == "" {
		u.Room = defaultRoom
	}
	if err := sse.CheckRoom(u.Room); err != nil {
		return u, badRequest(err)
	}
	if len(u.IDs) == 0 || len(u.IDs) > maxIDs {
		return u, badRequest(fmt.Errorf("ids has %d entries; give 1 to %d", len(u.IDs), maxIDs))
	}
	if u.Grace < 0 || u.Grace > maxGrace {
		return u, badRequest(fmt.Errorf("grace is %g; give 0 to %d seconds", u.Grace, maxGrace))
	}
	for i, id := range u.IDs {
		if err := sse.CheckClientID(id); err != nil {
			return u, badRequest(fmt.Errorf("ids[%d]: %w", i, err))
		}
	}
	return u, nil
}

// leave serves POST /leave.
func (s *Server) leave(c echo.Context) error {
	u, err := readUsers(c)
	if err != nil {
		return err
	}
	if _, err := s.admit(c, u.Room); err != nil {
		return err
	}
	at := time.Now().Add(time.Duration(u.Grace * float64(time.Second)))
	now := u.IDs
	if u.Grace > 0 {
		now = slices.DeleteFunc(slices.Clone(u.IDs), func(id string) bool { return s.table.Knows(u.Room, id) })
	}
	for _, id := range u.IDs {
		if u.Grace > 0 {
			s.table.LeaveBy(u.Room, id, at)
		} else {
			s.table.Leave(u.Room, id)
		}
	}
	if s.opt.Cluster != nil && len(now) > 0 {
		s.opt.Cluster.Leave(u.Room, now)
	}
	s.wakeExpiry()
	s.recount(u.Room)
	return c.NoContent(http.StatusNoContent)
}

// readyz serves GET /readyz.
func (s *Server) readyz(c echo.Context) error {
	if err := s.ready(); err != nil {
		return err
	}
	if words := s.keeping.Load(); words != nil {
		return c.String(http.StatusOK, "ok, but "+*words+"\n")
	}
	return c.String(http.StatusOK, "ok\n")
}

// allowOrigin refuses browsers of other origins that Options.Origins does not name.
// Only they send Origin with a GET. The address of this server is not compared
// alone, for proxies rewrite Host; a browser that says the request comes from the
// same origin is believed, since no page can make it say so.
func (s *Server) allowOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !s.greetOrigin(c) {
			return refuse(http.StatusForbidden, byOrigin,
				fmt.Sprintf("pages of %.200q may not subscribe here; start the server with -origins to allow them", c.Request().Header.Get("Origin")))
		}
		return next(c)
	}
}

// answerOrigin lets pages of the other origins see the answer, and refuses nobody: a
// browser sends Origin with every POST, its own site's too, where a proxy may have
// rewritten Host, and with the handshake of a WebSocket; and who knows a client id may
// speak for it.
func (s *Server) answerOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		s.greetOrigin(c)
		return next(c)
	}
}

// greetOrigin sets what a browser of another origin needs to see, and reports whether
// the request's origin may subscribe.
func (s *Server) greetOrigin(c echo.Context) bool {
	r, h := c.Request(), c.Response().Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case origin == "":
	case slices.Contains(s.opt.Origins, origin):
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	case slices.Contains(s.opt.Origins, "*"):
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		return r.Header.Get("Sec-Fetch-Site") == "same-origin" || sameHost(origin, r.Host)
	}
	return true
}

func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

func notAllowed(methods ...string) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set("Allow", strings.Join(methods, ", "))
		return echo.ErrMethodNotAllowed
	}
}

// bodyTime is how long a client may take to send a body.
const bodyTime = 10 * time.Second

// maxWaste is how much of a body that is too large is read for nothing: a client that
// writes all of its request first would otherwise find the connection cut, and no answer.
const maxWaste = 32 << 20

// readBody reads at most limit bytes, and not for ever.
func readBody(c echo.Context, limit int64) ([]byte, error) {
	control := http.NewResponseController(c.Response().Writer)
	if err := control.SetReadDeadline(time.Now().Add(bodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, fmt.Errorf("set read deadline: %w", err)
	}
	r := c.Request()
	if r.ProtoMajor >= 2 {
		// If the stream was reset before it was set, it would keep it in memory until then.
		// On HTTP/1.1 it stays, for the rest of a body that is not read here.
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	var body []byte
	var err error
	large := r.ContentLength > limit && r.Header.Get("Expect") != "" // and is not yet on its way
	if !large {
		body, err = io.ReadAll(io.LimitReader(r.Body, limit+1))
		if large = int64(len(body)) > limit; large {
			_, _ = io.CopyN(io.Discard, r.Body, maxWaste)
		}
	}
	switch {
	case large:
		return nil, tooLarge(fmt.Sprintf("body is larger than %d bytes; send less", limit))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, tooSlow()
	case err != nil:
		return nil, badRequest(fmt.Errorf("read body: %w", err))
	}
	return body, nil
}

// protect sets the headers that every answer but a stream bears.
func protect(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Path() != "/events" { // its first write is to be small
			c.Response().Header().Set("X-Content-Type-Options", "nosniff")
		}
		if c.IsTLS() {
			c.Response().Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		return next(c)
	}
}

// mistake is all that strangers are told of one.
const mistake = "something went wrong in the server; its log says what"

// answerError turns every error of every public route into {"error":"…"}.
func (s *Server) answerError(err error, c echo.Context) {
	status, why := s.writeError(err, c, "there is nothing here; the page is at / and the stream at /events")
	if status != 0 {
		s.metrics.refused.WithLabelValues(string(why), strconv.Itoa(status)).Inc()
	}
}

// writeError answers with {"error":"…"} and returns what it was, 0 if it is too late for
// an answer. Nothing is what it says where there is nothing.
func (s *Server) writeError(err error, c echo.Context, nothing string) (int, reason) {
	if c.Response().Committed {
		return 0, ""
	}
	status, why, words := http.StatusInternalServerError, byMistake, mistake
	var he *echo.HTTPError
	switch {
	case !errors.As(err, &he):
		s.log.Error("request went wrong", "path", c.Request().URL.Path, "error", err)
	case he == echo.ErrNotFound:
		status, why, words = he.Code, byRoute, nothing
	case he == echo.ErrMethodNotAllowed:
		// Echo lists OPTIONS for every route; here it is not for use.
		allow := strings.TrimPrefix(c.Response().Header().Get("Allow"), "OPTIONS, ")
		c.Response().Header().Set("Allow", allow)
		status, why, words = he.Code, byRoute, fmt.Sprintf("%s does not go here; use %s", c.Request().Method, allow)
	default:
		status, why, words = he.Code, byOther, fmt.Sprint(he.Message)
		errors.As(err, &why)
	}
	h := c.Response().Header()
	for _, name := range []string{"Content-Type", "X-Accel-Buffering"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		// Random, or all that were refused would come back at once.
		h.Set("Retry-After", strconv.Itoa(1+rand.IntN(5)))
	}
	if c.Request().Method == http.MethodHead {
		err = c.NoContent(status)
	} else {
		err = c.JSONBlob(status, fmt.Appendf(nil, "{\"error\":%s}\n", quote(words)))
	}
	if err != nil {
		s.log.Debug("answer did not go out", "error", err)
	}
	return status, why
}

// logPanic says where a handler panicked; the request ends with 500, the rest goes
// on.
func (s *Server) logPanic(c echo.Context, err error, stack []byte) error {
	s.log.Error("handler panicked", "path", c.Request().URL.Path, "error", err, "stack", string(stack))
	return refuse(http.StatusInternalServerError, byMistake, mistake)
}
