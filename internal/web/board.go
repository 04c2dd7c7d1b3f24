package web

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"headcount/internal/hub"
	"headcount/internal/sse"
	"headcount/internal/wire"
)

const (
	// allRooms is the room of the trend over all rooms: no room can have that name.
	allRooms = ""
	// maxWatchers is how many may watch /stats/events at once.
	maxWatchers = 64
)

// board is what operators watch: a room of its own in a hub of its own, whose one state is
// the stats. They are no users, and their streams are not among the streams.
type board struct {
	trend *trend
	room  *hub.Room

	mu       sync.Mutex
	watchers map[*wire.Stream]struct{}
	known    []byte // what the newest value says but the time
	ended    bool
}

func newBoard(now time.Time) board {
	return board{trend: newTrend(allRooms, now), room: hub.New(hub.Options{}).Open("stats"), watchers: make(map[*wire.Stream]struct{})}
}

// look notes how many users there are, and tells those who watch.
func (s *Server) look(now time.Time) {
	s.board.trend.counted(allRooms, s.table.Users(), now)
	s.board.mu.Lock()
	watched := len(s.board.watchers) > 0
	s.board.mu.Unlock()
	if watched {
		s.show(now, false)
	}
}

// show puts the stats on the board if they have changed, or in any case for a newcomer.
func (s *Server) show(now time.Time, anyway bool) {
	st := s.stats(now)
	value := encode(st)
	st.Uptime, st.Trend = 0, course{} // these go by the clock, which everybody has
	known := encode(st)
	b := &s.board
	b.mu.Lock()
	changed := anyway || string(known) != string(b.known)
	b.known = known
	b.mu.Unlock()
	if changed {
		b.room.Update("stats", func() []byte { return value })
	}
}

func encode(st stats) []byte {
	text, _ := json.Marshal(st) // numbers and strings: cannot go wrong
	return text
}

// enter returns false if nobody may watch any more; full says that there are too many.
func (b *board) enter(w *wire.Stream) (ok, full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended || len(b.watchers) == maxWatchers {
		return false, !b.ended
	}
	b.watchers[w] = struct{}{}
	return true, false
}

func (b *board) leave(w *wire.Stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.watchers, w)
}

// end ends every stream, and there will be no others. Nobody waits for it.
func (b *board) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	for w := range b.watchers {
		w.End(retry())
	}
}

// statsEvents serves GET /stats/events. As with /events, ?id= asks for io:hello and io:ping.
func (s *Server) statsEvents(c echo.Context) error {
	q, err := parseQuery(c.Request())
	if err != nil {
		return err
	}
	if q.Has("id") {
		if err := sse.CheckClientID(q.Get("id")); err != nil {
			return badRequest(err)
		}
	}
	setStreamHeader(c.Response().Header())
	if c.Request().Method == http.MethodHead {
		return c.NoContent(http.StatusOK)
	}
	s.show(time.Now(), true)
	out := wire.NewStream(s.board.room.Join(hub.Reader{ClientID: q.Get("id"), Retry: retry(), Heartbeat: s.opt.Heartbeat}), s.opt.Heartbeat, false)
	switch ok, full := s.board.enter(out); {
	case full:
		return unavailable(byOther, "as many watch as may; close one, or come back in a few seconds")
	case !ok:
		return unavailable(byStopping, "this server is stopping; come back in a few seconds")
	}
	defer s.board.leave(out)
	c.Response().Committed = true // from now on there is no other answer to give
	out.Run(c.Request().Context(), c.Response().Writer)
	return nil
}
