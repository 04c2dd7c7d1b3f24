package admin

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"headcount/internal/engine"
	"headcount/internal/httpapi"
	"headcount/internal/hub"
	"headcount/internal/page"
	"headcount/internal/sse"
	"headcount/internal/wire"
)

const (
	// allRooms is the room of the trend over all rooms: no room can have that name.
	allRooms = ""
	// maxWatchers is how many may watch /stats/events at once.
	maxWatchers = 64
)

// dashboard is what operators watch: a room of its own in a hub of its own, whose one state is
// the stats. They are no users, and their streams are not among the streams.
type dashboard struct {
	trend *page.Trend
	room  *hub.Room

	mu       sync.Mutex
	watchers map[*wire.Stream]struct{}
	known    []byte // what the newest value says but the time
	ended    bool
}

func newDashboard(now time.Time) *dashboard {
	return &dashboard{trend: page.NewTrend(allRooms, now), room: hub.New(hub.Options{}).Open("stats"), watchers: make(map[*wire.Stream]struct{})}
}

// look notes how many users there are, and tells those who watch.
func (a *Admin) look(now time.Time) {
	if a.dashboard.watched() {
		a.show(now, false)
	} else {
		a.dashboard.trend.Counted(allRooms, a.opt.Node.Stats().Users, now)
	}
}

func (d *dashboard) watched() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.watchers) > 0
}

// show publishes the stats if they have changed, or in any case for a newcomer.
func (a *Admin) show(now time.Time, anyway bool) {
	st := a.takeStats(now)
	value := encode(st)
	st.Uptime, st.Trend = 0, course{} // these go by the clock, which everybody has
	known := encode(st)
	d := a.dashboard
	d.mu.Lock()
	changed := anyway || string(known) != string(d.known)
	d.known = known
	d.mu.Unlock()
	if changed {
		d.room.Update("stats", func() []byte { return value })
	}
}

func encode(st stats) []byte {
	text, _ := json.Marshal(st) // numbers and strings: cannot go wrong
	return text
}

// enter reports whether the stream may watch, and if not, whether it is because there are too many.
func (d *dashboard) enter(w *wire.Stream) (ok, full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended || len(d.watchers) == maxWatchers {
		return false, !d.ended
	}
	d.watchers[w] = struct{}{}
	return true, false
}

func (d *dashboard) leave(w *wire.Stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.watchers, w)
}

// end ends every stream, and there will be no others. Nobody waits for it.
func (d *dashboard) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	for w := range d.watchers {
		w.End(engine.Retry())
	}
}

// statsEvents serves GET /stats/events. As with /events, ?id= asks for io:hello and io:ping.
func (a *Admin) statsEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := httpapi.Query(r)
	if err != nil {
		return err
	}
	if q.Has("id") {
		if err := sse.CheckClientID(q.Get("id")); err != nil {
			return httpapi.BadRequest(err)
		}
	}
	httpapi.SetStreamHeader(w.Header())
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	a.show(time.Now(), true)
	beat := a.opt.Heartbeat
	out := wire.NewStream(a.dashboard.room.Join(hub.JoinOptions{ClientID: q.Get("id"), Retry: engine.Retry(), Heartbeat: beat}), beat, false)
	switch ok, full := a.dashboard.enter(out); {
	case full:
		return httpapi.Refuse(http.StatusServiceUnavailable, "other", "as many watch as may; close one, or come back in a few seconds")
	case !ok:
		return httpapi.Refuse(http.StatusServiceUnavailable, string(engine.Stopping), "this server is stopping; come back in a few seconds")
	}
	defer a.dashboard.leave(out)
	out.Run(r.Context(), w)
	return nil
}
