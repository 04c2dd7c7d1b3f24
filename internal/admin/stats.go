package admin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"headcount/internal/engine"
	"headcount/internal/httpapi"
	"headcount/internal/page"
	"headcount/internal/presence"
	"headcount/internal/wire"
)

// topRooms is how many rooms /stats lists.
const topRooms = 100

// stats is what /stats shows of this node. Current values are counted at the time of the request. Totals come from the
// metrics.
type stats struct {
	Version    string                   `json:"version,omitempty"`
	Node       string                   `json:"node,omitempty"`
	Writer     engine.Writer            `json:"writer"`
	Started    time.Time                `json:"started"`
	Uptime     float64                  `json:"uptime_seconds"`
	Ready      string                   `json:"ready"` // "ok", or the reason why not
	Users      int                      `json:"users"`
	Streams    int                      `json:"streams"`
	MaxStreams int                      `json:"max_streams"` // 0 = no limit
	Transport  map[engine.Transport]int `json:"by_transport"`
	Rooms      int                      `json:"rooms"`
	ByRoom     []presence.Room          `json:"by_room"`
	Nodes      []nodeSeen               `json:"nodes,omitempty"`
	Cluster    string                   `json:"cluster,omitempty"`
	History    kept                     `json:"history"`
	Emitted    int                      `json:"emitted"`
	Rates      rates                    `json:"rates"`
	Ended      map[string]int           `json:"ended"`
	Refused    map[string]int           `json:"refused"`
	Room       *roomStats               `json:"room,omitempty"` // the room that the request names
	Trend      course                   `json:"trend,omitzero"`
}

// roomStats is what /stats?room= shows of a room.
type roomStats struct {
	Room      string                   `json:"room"`
	Users     int                      `json:"users"`      // on all nodes
	Here      int                      `json:"users_here"` // of these, those of this node
	Streams   int                      `json:"streams"`
	Transport map[engine.Transport]int `json:"by_transport"`
	History   kept                     `json:"history"`
	Joins     float64                  `json:"joins_per_second"`  // over the last ten seconds, without polls
	Events    float64                  `json:"events_per_second"` // over the last ten seconds
}

// rates are the rates per second over the last ten seconds.
type rates struct {
	Joins  float64 `json:"joins_per_second"` // opened streams without polls
	Events float64 `json:"events_per_second"`
}

// kept is the content of the history.
type kept struct {
	Events int   `json:"events"`
	Bytes  int64 `json:"bytes"`
}

// course is the recent number of users, of the room if the request names one. It has the highest and the last value of
// each step. The last step is now.
type course struct {
	Step   float64  `json:"step_seconds"`
	Into   int64    `json:"into_ms"` // since the last step began
	Points [][2]int `json:"points"`
}

// nodeSeen is a node, the time since its last message, and what this node knows about its users.
type nodeSeen struct {
	Node  string  `json:"node"`
	Self  bool    `json:"self,omitempty"`
	Age   float64 `json:"last_seen_seconds"`
	Users int     `json:"users"`
	Set   float64 `json:"set_age_seconds"`       // highest age of its sets for rooms open here
	Lag   int     `json:"sets_behind,omitempty"` // rooms open here whose set may be incomplete
}

// takeStats returns the current stats and adds them to the trend.
func (a *Admin) takeStats(now time.Time) stats {
	node, rooms := a.opt.Node.Stats(), a.opt.Node.Rooms()
	st := stats{
		Version:    a.opt.Version,
		Node:       node.Node,
		Writer:     node.Writer,
		Started:    node.Started.UTC().Truncate(time.Millisecond),
		Uptime:     math.Round(now.Sub(node.Started).Seconds()*1000) / 1000,
		Ready:      "ok",
		Streams:    node.Streams,
		MaxStreams: node.MaxStreams,
		Transport:  node.ByTransport,
		Rooms:      len(rooms),
		ByRoom:     busiest(rooms, topRooms),
		Nodes:      nodes(node.Nodes),
		Cluster:    clusterState(node),
		History:    kept{node.Events, node.EventBytes},
		Emitted:    sum(a.opt.Metrics.emitted, "")[""],
		Rates:      a.dashboard.rates(),
		Ended:      map[string]int{string(wire.Gone): 0, string(wire.Stalled): 0, string(wire.Ended): 0, string(engine.Answered): 0},
		Refused:    sum(a.opt.Metrics.refused, "reason"),
	}
	if node.Ready != nil {
		st.Ready = node.Ready.Error()
	}
	for _, r := range rooms {
		st.Users += r.Users
	}
	for reason, n := range sum(a.opt.Metrics.ended, "reason") {
		st.Ended[reason] = n
	}
	a.dashboard.trend.Counted(allRooms, st.Users, now)
	st.Trend = courseOf(a.dashboard.trend.Points(allRooms, now), now)
	return st
}

// of adds the stats of a room, unless it is allRooms.
func (a *Admin) of(room string, st stats, now time.Time) stats {
	if room == allRooms {
		return st
	}
	r := a.opt.Node.RoomStats(room)
	st.Room = &roomStats{
		Room: room, Users: r.Users, Here: r.Here, Streams: r.Streams, Transport: r.ByTransport,
		History: kept{r.Events, r.EventBytes},
		Joins:   float64(r.NewStreams) / engine.Recent.Seconds(), Events: float64(r.NewEvents) / engine.Recent.Seconds(),
	}
	st.Trend = courseOf(a.opt.Pages.Points(room), now)
	return st
}

func courseOf(points []page.Point, now time.Time) course {
	c := course{Step: page.TrendStep.Seconds(), Into: now.UnixMilli() % page.TrendStep.Milliseconds()}
	for _, p := range points {
		c.Points = append(c.Points, [2]int{p.Peak, p.Last})
	}
	return c
}

// busiest returns the n rooms with the most users, sorted by users and then by name. It does not sort the rest, because
// there may be as many rooms as users.
func busiest(rooms []presence.Room, n int) []presence.Room {
	order := func(a, b presence.Room) int {
		return cmp.Or(cmp.Compare(b.Users, a.Users), cmp.Compare(a.Name, b.Name))
	}
	top := make([]presence.Room, 0, min(n, len(rooms))+1)
	for _, r := range rooms {
		if len(top) == n && order(r, top[n-1]) > 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(top, r, order)
		top = slices.Insert(top, at, r)
		top = top[:min(len(top), n)]
	}
	return top
}

// sum adds up the counters of c by the value of a label. It omits sums of 0.
func sum(c prometheus.Collector, label string) map[string]int {
	counters := make(chan prometheus.Metric)
	go func() {
		defer close(counters)
		c.Collect(counters)
	}()
	sums := make(map[string]int)
	for counter := range counters {
		var m dto.Metric
		if counter.Write(&m) != nil {
			continue // cannot be encoded, which never happens with these metrics
		}
		var by string
		for _, pair := range m.GetLabel() {
			if pair.GetName() == label {
				by = pair.GetValue()
			}
		}
		if n := int(m.GetCounter().GetValue()); n > 0 {
			sums[by] += n
		}
	}
	return sums
}

// nodes returns the nodes sorted by name.
func nodes(all []engine.NodeStatus) []nodeSeen {
	var list []nodeSeen
	for _, n := range all {
		list = append(list, nodeSeen{n.Name, n.Self, n.Heard.Seconds(), n.Users, n.Fresh.Seconds(), n.Lag})
	}
	slices.SortFunc(list, func(a, b nodeSeen) int { return cmp.Compare(a.Node, b.Node) })
	return list
}

// clusterState describes whether a node is connected to the others. It returns "" if there are no others.
func clusterState(node engine.Stats) string {
	switch {
	case node.Nodes == nil:
		return ""
	case node.Joined != nil:
		return node.Joined.Error()
	case node.Degraded != "":
		return "ok, but " + node.Degraded
	}
	return "ok"
}

// stats serves GET /stats. A browser gets the page, and every other client gets JSON.
func (a *Admin) stats(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Add("Vary", "Accept")
	q, err := httpapi.Query(r)
	if err != nil {
		return err
	}
	room, err := roomOf(q)
	if err != nil {
		return err
	}
	now := time.Now()
	st := a.of(room, a.takeStats(now), now)
	if httpapi.Prefers(r, "text/html") {
		return a.opt.Pages.Render(w, r, http.StatusOK, "stats.html", viewOf(st))
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(pretty(st)) // the client may have gone
	return nil
}

// pretty formats the stats with one line for each value. It omits the trend, which is long.
func pretty(st stats) []byte {
	trend, _ := json.Marshal(st.Trend) // numbers and strings never fail
	st.Trend = course{}
	rest, _ := json.MarshalIndent(st, "", "  ")
	return fmt.Appendf(bytes.TrimSuffix(rest, []byte("\n}")), ",\n  \"trend\": %s\n}\n", trend)
}
