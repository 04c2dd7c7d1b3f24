package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"headcount/internal/wire"
)

// registry is what GET /metrics shows.
func (s *Server) registry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		s.metrics, census{s},
	)
	return registry
}

// metrics is what has happened; what is so now comes from census.
type metrics struct {
	opened  *prometheus.CounterVec
	ended   *prometheus.CounterVec
	refused *prometheus.CounterVec
	emitted prometheus.Counter
	passes  prometheus.Histogram
	keeping prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headcount_streams_opened_total",
			Help: "Streams and polls that were let in.",
		}, []string{"transport"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headcount_streams_ended_total",
			Help: "Streams that ended: gone (the reader closed or its path broke), stalled, ended (by this server).",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headcount_requests_refused_total",
			Help: "Requests that were answered with an error status.",
		}, []string{"reason", "status"}),
		emitted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headcount_events_emitted_total",
			Help: "Events that POST /emit accepted.",
		}),
		passes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "headcount_pass_duration_seconds",
			Help:    "From news in a room to the end of the epoll writer's pass over its readers: how late the last of them heard.",
			Buckets: []float64{.0001, .001, .005, .02, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		keeping: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "headcount_cluster_emit_duration_seconds",
			Help:    "How long the cluster took to keep an event, or to say that it does not.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .05, .25, 1, 2.5, 5},
		}),
	}
	m.begin()
	return m
}

// begin shows at 0 what is to be counted: a rate knows nothing of a first event that brings
// its counter with it.
func (m *metrics) begin() {
	for _, by := range []transport{byEpoll, byStream, byPoll} {
		m.opened.WithLabelValues(string(by))
	}
	for _, why := range []wire.Reason{wire.Gone, wire.Stalled, wire.Ended} {
		m.ended.WithLabelValues(string(why))
	}
	for why, status := range map[reason]int{
		byStreams:  http.StatusServiceUnavailable,
		byAddress:  http.StatusServiceUnavailable,
		byUsers:    http.StatusServiceUnavailable,
		byFiles:    http.StatusServiceUnavailable,
		byCluster:  http.StatusServiceUnavailable,
		byStopping: http.StatusServiceUnavailable,
		byRate:     http.StatusTooManyRequests,
		byToken:    http.StatusUnauthorized,
		byMistake:  http.StatusInternalServerError,
	} {
		m.refused.WithLabelValues(string(why), strconv.Itoa(status))
	}
}

// passed notes a pass over the readers of a room.
func (m *metrics) passed(took time.Duration) { m.passes.Observe(took.Seconds()) }

// kept notes that the cluster was asked to keep an event.
func (m *metrics) kept(took time.Duration) { m.keeping.Observe(took.Seconds()) }

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.opened, m.ended, m.refused, m.emitted, m.passes, m.keeping}
}

// Describe is for [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect is for [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

// census counts the sets themselves at each scrape, so that no number can drift.
type census struct{ s *Server }

// Describe is for [prometheus.Collector].
func (c census) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect is for [prometheus.Collector].
func (c census) Collect(ch chan<- prometheus.Metric) {
	show := func(kind prometheus.ValueType, v float64, name, help string, labels prometheus.Labels) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, labels), kind, v)
	}
	gauge := func(v float64, name, help string) { show(prometheus.GaugeValue, v, name, help, nil) }

	gauge(float64(c.s.table.Users()), "headcount_users", "Users counted now, over all rooms.")
	gauge(float64(c.s.table.Leases()), "headcount_leases", "Users counted now that need no stream for it: by a lease, or because they linger.")
	_, ways := c.s.transports()
	for way, n := range ways {
		show(prometheus.GaugeValue, float64(n), "headcount_streams", "Streams open now.", prometheus.Labels{"transport": string(way)})
	}
	gauge(float64(c.s.opt.MaxStreams), "headcount_max_streams", "Streams that may be open at once, 0 = no limit.")
	gauge(float64(c.s.hub.Rooms()), "headcount_rooms", "Rooms that exist now.")
	kept, size := c.s.hub.History()
	gauge(float64(kept), "headcount_history_events", "Events kept now, over all rooms.")
	gauge(float64(size), "headcount_history_bytes", "Memory that the events kept now need.")
	show(prometheus.CounterValue, float64(c.s.hub.Gaps()), "headcount_gaps_total", "How often a reader was told by io:gap that it has missed events.", nil)
	ready := 0.0
	if c.s.ready() == nil {
		ready = 1
	}
	gauge(ready, "headcount_ready", "Whether new streams are welcome, as /readyz says: 1 or 0.")
	if c.s.opt.Cluster != nil {
		gauge(float64(len(c.s.opt.Cluster.Nodes())), "headcount_nodes", "Nodes that are alive as this one sees it, itself too.")
	}
}
