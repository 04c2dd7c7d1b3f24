package web

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headcount/internal/presence"
)

// transport is the way that a stream's bytes take.
type transport string

const (
	byEpoll  transport = "epoll"
	byStream transport = "stream"
	byPoll   transport = "poll"
)

// Admin returns the routes of the private listener.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry(), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /stats", s.stats)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// topRooms is how many rooms /stats lists.
const topRooms = 100

// stats serves GET /stats.
func (s *Server) stats(w http.ResponseWriter, _ *http.Request) {
	rooms := s.table.Rooms()
	users := 0
	for _, r := range rooms {
		users += r.Users
	}
	slices.SortFunc(rooms, func(a, b presence.Room) int {
		return cmp.Or(cmp.Compare(b.Users, a.Users), cmp.Compare(a.Name, b.Name))
	})
	open, ways := s.transports()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	err := out.Encode(struct {
		Users     int               `json:"users"`
		Streams   int               `json:"streams"`
		Transport map[transport]int `json:"by_transport"`
		Rooms     int               `json:"rooms"`
		ByRoom    []presence.Room   `json:"by_room"`
		Nodes     []nodeSeen        `json:"nodes,omitempty"`
		Cluster   string            `json:"cluster,omitempty"`
	}{users, open, ways, len(rooms), rooms[:min(len(rooms), topRooms)], s.nodes(), s.clusterState()})
	if err != nil {
		s.log.Debug("answer did not go out", "error", err)
	}
}

// nodeSeen is a node, and how long ago it was last heard of.
type nodeSeen struct {
	Node string  `json:"node"`
	Self bool    `json:"self,omitempty"`
	Age  float64 `json:"last_seen_seconds"`
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
	return "ok"
}

// transports counts the open streams, all and by their way.
func (s *Server) transports() (int, map[transport]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ways := map[transport]int{byEpoll: 0, byStream: 0, byPoll: 0}
	for st := range s.streams {
		ways[st.by]++
	}
	return len(s.streams), ways
}
