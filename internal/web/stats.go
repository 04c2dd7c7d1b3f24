package web

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"headcount/internal/presence"
	"headcount/internal/wire"
)

// topRooms is how many rooms /stats lists.
const topRooms = 100

// stats is what /stats says of this node: what is so now is counted from what is there, what
// has happened is from the metrics.
type stats struct {
	Version    string            `json:"version,omitempty"`
	Node       string            `json:"node,omitempty"`
	Writer     Writer            `json:"writer"`
	Started    time.Time         `json:"started"`
	Uptime     float64           `json:"uptime_seconds"`
	Ready      string            `json:"ready"` // "ok", or why not
	Users      int               `json:"users"`
	Streams    int               `json:"streams"`
	MaxStreams int               `json:"max_streams"` // 0 = no limit
	Transport  map[transport]int `json:"by_transport"`
	Rooms      int               `json:"rooms"`
	ByRoom     []presence.Room   `json:"by_room"`
	Nodes      []nodeSeen        `json:"nodes,omitempty"`
	Cluster    string            `json:"cluster,omitempty"`
	History    kept              `json:"history"`
	Emitted    int               `json:"emitted"`
	Ended      map[string]int    `json:"ended"`
	Refused    map[string]int    `json:"refused"`
	Trend      course            `json:"trend,omitzero"`
}

// kept is what the history holds.
type kept struct {
	Events int   `json:"events"`
	Bytes  int64 `json:"bytes"`
}

// course is how many users there were lately: the most and the last of each step, the last
// step being now.
type course struct {
	Step   float64  `json:"step_seconds"`
	Into   int64    `json:"into_ms"` // since the last step began
	Points [][2]int `json:"points"`
}

// nodeSeen is a node, and how long ago it was last heard of.
type nodeSeen struct {
	Node string  `json:"node"`
	Self bool    `json:"self,omitempty"`
	Age  float64 `json:"last_seen_seconds"`
}

// stats takes stock.
func (s *Server) stats(now time.Time) stats {
	rooms := s.table.Rooms()
	st := stats{
		Version: s.opt.Version,
		Node:    s.pages.node,
		Writer:  Portable,
		Started: s.started.UTC().Truncate(time.Millisecond),
		Uptime:  math.Round(now.Sub(s.started).Seconds()*1000) / 1000,
		Ready:   "ok",
		Rooms:   len(rooms),
		ByRoom:  busiest(rooms, topRooms),
		Nodes:   s.nodes(),
		Cluster: s.clusterState(),
		Emitted: tally(s.metrics.emitted, "")[""],
		Ended:   map[string]int{string(wire.Gone): 0, string(wire.Stalled): 0, string(wire.Ended): 0},
		Refused: tally(s.metrics.refused, "reason"),

		MaxStreams: s.opt.MaxStreams,
	}
	if s.epoll != nil {
		st.Writer = Epoll
		if s.epoll.Uring() {
			st.Writer = Uring
		}
	}
	if err := s.ready(); err != nil {
		var why *echo.HTTPError
		if st.Ready = err.Error(); errors.As(err, &why) {
			st.Ready = fmt.Sprint(why.Message)
		}
	}
	for _, r := range rooms {
		st.Users += r.Users
	}
	st.Streams, st.Transport = s.transports()
	st.History.Events, st.History.Bytes = s.hub.History()
	for reason, n := range tally(s.metrics.ended, "reason") {
		st.Ended[reason] = n
	}
	s.board.trend.counted(allRooms, st.Users, now)
	st.Trend.Step, st.Trend.Into = trendStep.Seconds(), now.UnixMilli()%trendStep.Milliseconds()
	for _, p := range s.board.trend.points(allRooms, now) {
		st.Trend.Points = append(st.Trend.Points, [2]int{p.Peak, p.Last})
	}
	return st
}

// busiest returns the n rooms with the most users, by name where they have as many. It does
// not sort the rest: there may be as many rooms as there are users.
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

// tally adds up the counters of c by the value of a label, without those that are 0.
func tally(c prometheus.Collector, label string) map[string]int {
	counters := make(chan prometheus.Metric)
	go func() {
		defer close(counters)
		c.Collect(counters)
	}()
	sum := make(map[string]int)
	for counter := range counters {
		var m dto.Metric
		if counter.Write(&m) != nil {
			continue // one that cannot be encoded, which ours can
		}
		var by string
		for _, pair := range m.GetLabel() {
			if pair.GetName() == label {
				by = pair.GetValue()
			}
		}
		if n := int(m.GetCounter().GetValue()); n > 0 {
			sum[by] += n
		}
	}
	return sum
}

// nodes returns the nodes of the cluster, none where there is no cluster.
func (s *Server) nodes() []nodeSeen {
	if s.opt.Cluster == nil {
		return nil
	}
	var list []nodeSeen
	for name, age := range s.opt.Cluster.Nodes() {
		list = append(list, nodeSeen{name, strings.HasPrefix(name, s.opt.Cluster.Tag()), age.Seconds()})
	}
	slices.SortFunc(list, func(a, b nodeSeen) int { return cmp.Compare(a.Node, b.Node) })
	return list
}

// clusterState says in words whether this node is one with the others.
func (s *Server) clusterState() string {
	if s.opt.Cluster == nil {
		return ""
	}
	if err := s.opt.Cluster.Ready(); err != nil {
		return err.Error()
	}
	if words := s.keeping.Load(); words != nil {
		return "ok, but " + *words
	}
	return "ok"
}

// statsPage serves GET /stats: the page to a browser, JSON to everybody else.
func (s *Server) statsPage(c echo.Context) error {
	h := c.Response().Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept")
	st := s.stats(time.Now())
	if prefers(c.Request(), echo.MIMETextHTML) {
		return s.pages.render(c, "stats.html", viewOf(st))
	}
	return c.JSONBlob(http.StatusOK, pretty(st))
}

// pretty is the stats for people: all but the trend, which is long, with a line for each value.
func pretty(st stats) []byte {
	trend, _ := json.Marshal(st.Trend) // numbers and strings: cannot go wrong
	st.Trend = course{}
	rest, _ := json.MarshalIndent(st, "", "  ")
	return fmt.Appendf(bytes.TrimSuffix(rest, []byte("\n}")), ",\n  \"trend\": %s\n}\n", trend)
}
