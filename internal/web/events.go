package web

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"headcount/internal/sse"
	"headcount/internal/wire"
)

// subscription is what a request for a stream asks for.
type subscription struct {
	room, id, cursor string
}

func parseSubscription(r *http.Request) (subscription, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return subscription{}, badRequest(fmt.Errorf("query is not well formed: %w", err))
	}
	sub := subscription{id: q.Get("id"), cursor: r.Header.Get("Last-Event-ID")}
	if sub.cursor == "" {
		sub.cursor = q.Get("lastEventId")
	}
	if sub.room, err = roomOf(q); err != nil {
		return sub, err
	}
	if q.Has("id") {
		if err := sse.CheckClientID(sub.id); err != nil {
			return sub, badRequest(err)
		}
	}
	return sub, nil
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
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream") // bare: "; charset" has broken a CDN
	// Each of these makes some proxy pass the stream on as it comes: no-transform
	// stops compression, no-store stops Varnish from sharing it, and nginx obeys
	// X-Accel-Buffering.
	h.Set("Cache-Control", "no-cache, no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
	if c.Request().Method == http.MethodHead {
		return c.NoContent(http.StatusOK)
	}
	return s.serve(c, want)
}

// serve counts the reader and writes to it until one of them ends.
func (s *Server) serve(c echo.Context, want subscription) error {
	st, sub, err := s.join(want)
	if err != nil {
		return err
	}
	reason := wire.Gone
	defer func() { s.gone(st, reason) }() // also if a panic ends the request
	out := wire.NewStream(sub, s.opt.Heartbeat)
	st.writes(out)
	reason = out.Run(c.Request().Context(), c.Response())
	return nil
}
