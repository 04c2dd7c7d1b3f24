package admin

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"net/url"
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

// dashboard is the stream of /stats. Its views are rooms in a separate hub, whose only state is the stats. Its watchers
// are not counted as users, and their streams are not in the number of streams.
type dashboard struct {
	trend *page.Trend
	hub   *hub.Hub

	mu       sync.Mutex
	views    map[string]*view // by the name of the room, allRooms for all
	watchers map[*wire.Stream]struct{}
	entered  int // watchers, and those who are about to watch
	ended    bool
	samples  []sample // of the last sampled seconds, the oldest first
}

// view is what the watchers of a room see.
type view struct {
	room     *hub.Room
	watchers int
	known    []byte // the newest value without the times
}

// sampled is the number of seconds over which rates are computed.
const sampled = int(engine.Recent / time.Second)

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
	return &dashboard{
		trend: page.NewTrend(allRooms, now), hub: hub.New(hub.Options{}),
		views: make(map[string]*view), watchers: make(map[*wire.Stream]struct{}),
	}
}

// look samples the number of users and publishes the stats to watchers.
func (a *Admin) look(now time.Time) {
	a.dashboard.sample(now, a.opt.Metrics)
	watched := a.dashboard.watched()
	if len(watched) == 0 {
		a.dashboard.trend.Counted(allRooms, a.opt.Node.Stats().Users, now)
		return
	}
	st := a.takeStats(now)
	for room, v := range watched {
		a.dashboard.show(a.of(room, st, now), v, false)
	}
}

// watched returns the views that somebody watches.
func (d *dashboard) watched() map[string]*view {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.views)
}

// show publishes the stats in a view if they have changed. With anyway it always publishes, for a new watcher.
func (d *dashboard) show(st stats, v *view, anyway bool) {
	value := encode(st)
	st.Uptime, st.Trend = 0, course{} // these depend only on the time
	known := encode(st)
	d.mu.Lock()
	changed := anyway || string(known) != string(v.known)
	v.known = known
	d.mu.Unlock()
	if changed {
		v.room.Update("stats", func() []byte { return value })
	}
}

func encode(st stats) []byte {
	text, _ := json.Marshal(st) // numbers and strings never fail
	return text
}

// enter adds a watcher of a room, or refuses it.
func (d *dashboard) enter(room string) (*view, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.ended:
		return nil, engine.ErrStopping
	case d.entered == maxWatchers:
		return nil, httpapi.Refuse(http.StatusServiceUnavailable, "other", "too many open pages of /stats; close one, or try again in a few seconds")
	}
	v := d.views[room]
	if v == nil {
		v = &view{room: d.hub.Open(room)}
		d.views[room] = v
	}
	v.watchers++
	d.entered++
	return v, nil
}

// leave undoes one enter.
func (d *dashboard) leave(room string, v *view) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entered--
	if v.watchers--; v.watchers == 0 {
		delete(d.views, room)
		d.hub.Close(v.room)
	}
}

// run writes the stream of a watcher.
func (d *dashboard) run(ctx context.Context, w http.ResponseWriter, out *wire.Stream) {
	d.mu.Lock()
	d.watchers[out] = struct{}{}
	if d.ended {
		out.End(engine.Retry())
	}
	d.mu.Unlock()
	out.Run(ctx, w)
	d.mu.Lock()
	delete(d.watchers, out)
	d.mu.Unlock()
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
	room, err := roomOf(q)
	if err != nil {
		return err
	}
	httpapi.SetStreamHeader(w.Header())
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	v, err := a.dashboard.enter(room)
	if err != nil {
		return err
	}
	defer a.dashboard.leave(room, v)
	now := time.Now()
	a.dashboard.show(a.of(room, a.takeStats(now), now), v, true)
	beat := a.opt.Heartbeat
	a.dashboard.run(r.Context(), w, wire.NewStream(
		v.room.Join(hub.JoinOptions{ClientID: q.Get("id"), Retry: engine.Retry(), Heartbeat: beat}), beat, false))
	return nil
}

// roomOf returns the room that a query names, or allRooms.
func roomOf(q url.Values) (string, error) {
	if !q.Has("room") {
		return allRooms, nil
	}
	return httpapi.RoomOf(q)
}
