package web

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"headcount/internal/hub"
	"headcount/internal/sse"
	"headcount/internal/wire"
)

// pollTime is how long a poll waits for news: less than any proxy cuts after.
const pollTime = 20 * time.Second

// poll serves GET /events?poll=1: the bytes of a stream, in a response that ends after
// the first news and has a length, for paths that hold a response back until it is
// complete. An unchanged EventSource comes again by itself, with its cursor.
func (s *Server) poll(c echo.Context, want subscription) error {
	user := want.id
	if user == "" {
		// One reader must be one user over all its polls, or each poll would change
		// the count and so end the next. Its cursor carries a name that we give it.
		want.cursor, user = cutPoller(want.cursor)
	}
	as := want
	as.id = user
	newcomer := !s.table.Has(want.room, user)
	st, how, err := s.join(c.Request().Context(), as, byPoll)
	if err != nil {
		return err
	}
	reason := wire.Gone
	defer func() { s.gone(st, reason) }() // also if a panic ends the request
	how.ClientID, how.Retry, how.Newcomer = want.id, soon(), newcomer
	st.detour = want.proxied && want.id != ""
	st.seldom = want.now
	s.table.Returned(st.ticket)
	end := make(pollWriter, 1)
	st.writes(end)

	sub, body, news := st.room.Poll(how)
	news = news || want.now
	body, answered := s.await(c, sub, body, news, end)
	if !answered {
		return nil // the reader has gone: nobody to answer
	}
	body = withCursor(body, sub, want.cursor, user, want.id == "")
	// Also where a proxy stands in between: its reader comes again at once.
	st.returning.Store(true)
	reason = wire.Ended
	defer answerBy(c.Response().Writer, c.Request(), time.Now().Add(answerTime))()
	h := c.Response().Header()
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.Response().WriteHeader(http.StatusOK)
	if _, err := c.Response().Write(body); err != nil {
		st.returning.Store(false)
		reason = wire.Gone
	}
	return nil
}

// withCursor has an answer leave its reader with the cursor where it is now. That goes into the last event, because some
// readers take a block without data for an event. Without an event there is nothing to say, unless the cursor has moved
// in a quiet room: then the states are said again.
func withCursor(body []byte, sub *hub.Sub, came, user string, nameless bool) []byte {
	cursor := sub.Cursor()
	id := cursor
	if nameless {
		id += "." + user
	}
	body, ok := sse.SetLastID(body, id)
	if !ok && cursor != came {
		body, _ = sse.SetLastID(sub.States(body), id)
	}
	return body
}

// await appends the first news to body. It returns false if the reader has gone.
func (s *Server) await(c echo.Context, sub *hub.Sub, body []byte, news bool, end pollWriter) ([]byte, bool) {
	timeout := time.NewTimer(pollTime)
	defer timeout.Stop()
	var batch hub.Batch
	for {
		changed := sub.Room().Changed()
		if sub.Pending(&batch) {
			for _, p := range batch.Bytes {
				body = append(body, p...)
			}
			sub.Advance(&batch, batch.Len())
			return body, true
		}
		if news {
			return body, true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return body, true
		case <-end:
			return body, true
		case <-c.Request().Context().Done():
			return nil, false
		}
	}
}

// pollWriter ends a poll early.
type pollWriter chan struct{}

// End has the poll answer now.
func (w pollWriter) End(time.Duration) {
	select {
	case w <- struct{}{}:
	default: // it ends already
	}
}

// Ping does nothing: a poll is its own sign of life.
func (pollWriter) Ping() {}

// A poller's name is the fifth part of its cursor.
const cursorParts = 4

// cutPoller takes the poller's name off a cursor, or makes a new one.
func cutPoller(cursor string) (rest, poller string) {
	if strings.Count(cursor, ".") == cursorParts {
		i := strings.LastIndexByte(cursor, '.')
		if poller := cursor[i+1:]; sse.CheckClientID(poller) == nil {
			return cursor[:i], poller
		}
	}
	return cursor, rand.Text()
}
