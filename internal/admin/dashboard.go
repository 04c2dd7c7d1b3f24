package admin

import (
	"encoding/json"
	"math"
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
	// allRooms is the name of the trend over all rooms. No room can have this name.
	allRooms = ""
	// maxWatchers is how many clients may watch /stats/events at once.
	maxWatchers = 64
)

// dashboard is the stream of /stats. It is a room in a separate hub, whose only state is the stats. Its watchers are
// not counted as users, and their streams are not in the number of streams.
type dashboard struct {
	trend *page.Trend
	room  *hub.Room

	mu       sync.Mutex
	watchers map[*wire.Stream]struct{}
	known    []byte // the newest value without the times
	ended    bool
	samples  []sample // of the last sampled seconds, the oldest first
}

// sampled is the number of seconds over which rates are computed.
const sampled = 10

// sample is the values of the counters at one time.
type sample struct {
	at              time.Time
	opened, emitted int
}

// sample records the current values of the counters.
func (d *dashboard) sample(now time.Time, m *Metrics) {
	opened := sum(m.opened, "transport")
	s := sample{at: now, emitted: sum(m.emitted, "")[""]}
	for transport, n := range opened {
		if transport != string(engine.ByPoll) {
			s.opened += n
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.samples = append(d.samples, s)
	d.samples = d.samples[max(0, len(d.samples)-sampled-1):]
}

// rates returns the rates per second over the time of the samples.
func (d *dashboard) rates() rates {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.samples) < 2 {
		return rates{}
	}
	first, last := d.samples[0], d.samples[len(d.samples)-1]
	perSecond := func(n int) float64 { return math.Round(10*float64(n)/last.at.Sub(first.at).Seconds()) / 10 }
	return rates{perSecond(last.opened - first.opened), perSecond(last.emitted - first.emitted)}
}

func newDashboard(now time.Time) *dashboard {
	return &dashboard{trend: page.NewTrend(allRooms, now), room: hub.New(hub.Options{}).Open("stats"), watchers: make(map[*wire.Stream]struct{})}
}

// look samples the number of users and publishes the stats to watchers.
func (a *Admin) look(now time.Time) {
	a.dashboard.sample(now, a.opt.Metrics)
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

// show publishes the stats if they have changed. With anyway it always publishes, for a new watcher.
func (a *Admin) show(now time.Time, anyway bool) {
	st := a.takeStats(now)
	value := encode(st)
	st.Uptime, st.Trend = 0, course{} // these depend only on the time
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
	text, _ := json.Marshal(st) // numbers and strings never fail
	return text
}

// enter reports whether the stream may watch. full reports whether it was refused because there are too many watchers.
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

// end ends every stream and refuses new ones. It does not wait.
func (d *dashboard) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	for w := range d.watchers {
		w.End(engine.Retry())
	}
}

// statsEvents serves GET /stats/events. As with /events, ?id= requests io:hello and io:ping.
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
		return httpapi.Refuse(http.StatusServiceUnavailable, "other", "too many open pages of /stats; close one, or try again in a few seconds")
	case !ok:
		return httpapi.Refuse(http.StatusServiceUnavailable, string(engine.Stopping), "this server is stopping; try again in a few seconds")
	}
	defer a.dashboard.leave(out)
	out.Run(r.Context(), w)
	return nil
}
