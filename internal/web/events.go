package web

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"headcount/internal/sse"
	"headcount/internal/wire"
)

// subscription is what a request for a stream asks for.
type subscription struct {
	room, id, cursor string
	poll             bool // one answer with an end
	now              bool // which comes at once
	proxied          bool // the way leads, or may lead, through a proxy
	readdressed      bool // or through something that only passes bytes on
	browser          bool
	until            time.Time // when its token ends; zero = never
	address          netip.Prefix
}

func parseSubscription(r *http.Request) (subscription, error) {
	q, err := parseQuery(r)
	if err != nil {
		return subscription{}, err
	}
	sub := subscription{
		id: q.Get("id"), cursor: r.Header.Get("Last-Event-ID"),
		proxied: proxied(r), readdressed: readdressed(r), browser: browser(r),
	}
	if sub.cursor == "" {
		sub.cursor = q.Get("lastEventId")
	}
	if sub.room, err = roomOf(q); err != nil {
		return sub, err
	}
	switch q.Get("poll") {
	case "", "0":
	case "1":
		sub.poll = true
	default:
		return sub, badRequest(fmt.Errorf("poll is %.20q; give 1, or leave it out", q.Get("poll")))
	}
	switch q.Get("wait") {
	case "":
	case "0":
		sub.now = true
	default:
		return sub, badRequest(fmt.Errorf("wait is %.20q; give 0 with poll=1, or leave it out", q.Get("wait")))
	}
	if q.Has("id") {
		if err := sse.CheckClientID(sub.id); err != nil {
			return sub, badRequest(err)
		}
		return sub, nil
	}
	// Node's http-proxy, which never closes a stream, gives itself away by this alone.
	// Programs may do so too, but a reader without id is only told to come again.
	sub.proxied = sub.proxied || sub.readdressed || r.Close
	return sub, nil
}

// parseQuery reads the query as browsers do: a semicolon is a character like others.
func parseQuery(r *http.Request) (url.Values, error) {
	pairs := strings.Split(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"), "&")
	for i, pair := range pairs {
		// "malformed … never an error status": such a cursor is taken as it stands.
		if text, ok := strings.CutPrefix(pair, "lastEventId="); ok {
			if _, err := url.QueryUnescape(text); err != nil {
				pairs[i] = "lastEventId=" + url.QueryEscape(text)
			}
		}
	}
	q, err := url.ParseQuery(strings.Join(pairs, "&"))
	if err != nil {
		return nil, badRequest(fmt.Errorf("query is not well formed: %w", err))
	}
	return q, nil
}

const defaultRoom = "lobby"

// roomOf returns the room that a query names. "stream" is what the client of
// github.com/r3labs/sse/v2 calls it.
func roomOf(q url.Values) (string, error) {
	for _, key := range []string{"room", "stream"} {
		if q.Has(key) {
			if err := sse.CheckRoom(q.Get(key)); err != nil {
				return "", badRequest(err)
			}
			return q.Get(key), nil
		}
	}
	return defaultRoom, nil
}

// events serves GET and HEAD /events.
func (s *Server) events(c echo.Context) error {
	want, err := parseSubscription(c.Request())
	if err != nil {
		return err
	}
	if want.until, err = s.admit(c, want.room); err != nil {
		return err
	}
	want.address = addressKey(c.Echo().IPExtractor, c.Request())
	setStreamHeader(c.Response().Header())
	if c.Request().Method == http.MethodHead {
		return c.NoContent(http.StatusOK)
	}
	if !want.poll {
		return s.serve(c, want)
	}
	// Some filters refuse event streams, or hold them back, and go by the type.
	if !strings.Contains(c.Request().Header.Get("Accept"), "text/event-stream") {
		c.Response().Header().Set("Content-Type", "text/plain; charset=utf-8")
		c.Response().Header().Set("X-Content-Type-Options", "nosniff")
	}
	return s.poll(c, want)
}

// setStreamHeader sets the header of a stream.
func setStreamHeader(h http.Header) {
	h.Set("Content-Type", "text/event-stream") // bare: "; charset" has broken a CDN
	// Each of these makes some proxy pass the stream on as it comes: no-transform
	// stops compression, no-store stops Varnish from sharing it, and nginx obeys
	// X-Accel-Buffering.
	h.Set("Cache-Control", "no-cache, no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
}

// serve counts the reader and has it written to until one of them ends. Plain
// HTTP/1.x goes to the epoll writer where there is one; then the handler is done.
func (s *Server) serve(c echo.Context, want subscription) error {
	if conn, ok := c.Request().Context().Value(connKey{}).(*net.TCPConn); ok && s.epoll != nil && c.Request().ProtoMajor == 1 {
		return s.handOver(c, want, conn)
	}
	st, how, err := s.join(c.Request().Context(), want, byStream)
	if err != nil {
		return err
	}
	reason := wire.Gone
	defer func() { s.gone(st, reason) }() // also if a panic ends the request
	out := wire.NewStream(st.room.Join(how), s.opt.Heartbeat, want.browser)
	st.writes(out)
	c.Response().Committed = true // from now on there is no other answer to give
	// Not through Echo's own writer, which keeps the errors of Flush to itself.
	w, done := streamWriter(c)
	defer done()
	reason = out.Run(c.Request().Context(), w)
	return nil
}

// handOver takes the connection away from net/http and gives it to the epoll writer.
func (s *Server) handOver(c echo.Context, want subscription, conn *net.TCPConn) error {
	fd, err := wire.Dup(conn)
	if err != nil {
		s.log.Warn("stream refused", "error", err)
		return unavailable(byFiles, "this server has no room for another stream; come back in a few seconds")
	}
	st, how, err := s.join(c.Request().Context(), want, byEpoll)
	if err != nil {
		wire.Discard(fd)
		return err
	}
	how.Chunked = c.Request().ProtoAtLeast(1, 1)
	how.Prefix = header(c, how.Chunked)
	old, _, err := c.Response().Hijack()
	if err != nil {
		wire.Discard(fd)
		s.gone(st, wire.Gone)
		return fmt.Errorf("hijack connection: %w", err)
	}
	c.Response().Committed = true // whatever happens now, there is no answer to give
	_ = old.Close()               // the connection lives on in fd
	st.writes(s.epoll.Take(fd, st.room.Join(how), want.browser, st))
	return nil
}

// header is the response header, as net/http would send it.
func header(c echo.Context, chunked bool) []byte {
	h := c.Response().Header()
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	// The connection ends with the stream.
	h.Set("Connection", "close")
	b := bytes.NewBufferString("HTTP/1.0 200 OK\r\n")
	if chunked {
		b = bytes.NewBufferString("HTTP/1.1 200 OK\r\n")
		h.Set("Transfer-Encoding", "chunked")
	}
	_ = h.Write(b) // a buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}
