package admin

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"headcount/internal/engine"
	"headcount/internal/wire"
)

// Metrics counts events as an [engine.Observer]. Current values come from [gauges].
type Metrics struct {
	engine.Unobserved

	opened  *prometheus.CounterVec
	ended   *prometheus.CounterVec
	refused *prometheus.CounterVec
	kept    *prometheus.CounterVec
	emitted prometheus.Counter
	passes  prometheus.Histogram
	stored  prometheus.Histogram
}

// NewMetrics returns metrics in which all counters are 0.
func NewMetrics() *Metrics {
	m := &Metrics{
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headcount_streams_opened_total",
			Help: "Streams and polls accepted.",
		}, []string{"transport"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headcount_streams_ended_total",
			Help: "Streams that ended: gone (the client closed it or its path broke), stalled, ended (by this server), answered (polls).",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headcount_requests_refused_total",
			Help: "Requests answered with an error status.",
		}, []string{"reason", "status"}),
		kept: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headcount_streams_portable_total",
			Help: "Streams left to the portable writer, at some 50 times the memory, by reason: http2, tls12 (or older), " +
				"listener (not one of headcount), cipher, unproven (behind a KeyUpdate), gone (before it began).",
		}, []string{"reason"}),
		emitted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headcount_events_emitted_total",
			Help: "Events that POST /emit accepted.",
		}),
		passes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "headcount_pass_duration_seconds",
			Help:    "Time from news in a room to the end of the epoll writer's pass over its subscribers.",
			Buckets: []float64{.0001, .001, .005, .02, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		stored: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "headcount_cluster_emit_duration_seconds",
			Help:    "How long the cluster took to store or refuse an event.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .05, .25, 1, 2.5, 5},
		}),
	}
	m.begin()
	return m
}

// begin creates the counters with 0, because a rate misses the first event if it creates the counter.
func (m *Metrics) begin() {
	for _, t := range engine.Transports() {
		m.opened.WithLabelValues(string(t))
	}
	for _, why := range wire.Obstacles() {
		m.kept.WithLabelValues(string(why))
	}
	for _, why := range []wire.Reason{wire.Gone, wire.Stalled, wire.Ended, engine.Answered} {
		m.ended.WithLabelValues(string(why))
	}
	for reason, status := range map[string]int{
		string(engine.MaxStreams): http.StatusServiceUnavailable,
		string(engine.MaxPerIP):   http.StatusServiceUnavailable,
		string(engine.MaxLeases):  http.StatusServiceUnavailable,
		string(engine.OpenFiles):  http.StatusServiceUnavailable,
		string(engine.Cluster):    http.StatusServiceUnavailable,
		string(engine.Stopping):   http.StatusServiceUnavailable,
		string(engine.MaxRate):    http.StatusTooManyRequests,
		"token":                   http.StatusUnauthorized,
		"server_error":            http.StatusInternalServerError,
	} {
		m.refused.WithLabelValues(reason, strconv.Itoa(status))
	}
}

// Opened counts a stream or a poll that was admitted.
func (m *Metrics) Opened(t engine.Transport) { m.opened.WithLabelValues(string(t)).Inc() }

// Ended counts a stream that ended.
func (m *Metrics) Ended(why wire.Reason) { m.ended.WithLabelValues(string(why)).Inc() }

// Kept counts a stream that stays with the portable writer.
func (m *Metrics) Kept(reason string) { m.kept.WithLabelValues(reason).Inc() }

// Refused counts a request that was answered with an error status.
func (m *Metrics) Refused(reason string, status int) {
	m.refused.WithLabelValues(reason, strconv.Itoa(status)).Inc()
}

// Emitted counts an event that was accepted.
func (m *Metrics) Emitted() { m.emitted.Inc() }

// Delivered records the time of a delivery to all subscribers of a room.
func (m *Metrics) Delivered(took time.Duration) { m.passes.Observe(took.Seconds()) }

// Stored records the time of a request to the cluster to store an event.
func (m *Metrics) Stored(took time.Duration) { m.stored.Observe(took.Seconds()) }

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.opened, m.ended, m.refused, m.kept, m.emitted, m.passes, m.stored}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

// gauges reads the engine's state at each scrape, so no number can drift.
type gauges struct{ stats func() engine.Stats }

// Describe implements [prometheus.Collector].
func (g gauges) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, ch) }

// Collect implements [prometheus.Collector].
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	show := func(kind prometheus.ValueType, v float64, name, help string, labels prometheus.Labels) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, labels), kind, v)
	}
	gauge := func(v float64, name, help string) { show(prometheus.GaugeValue, v, name, help, nil) }

	s := g.stats()
	gauge(float64(s.Users), "headcount_users", "Users counted now, over all rooms.")
	gauge(float64(s.Leases), "headcount_leases", "Users counted now without an open stream: by a lease, or in their grace period.")
	for t, n := range s.ByTransport {
		show(prometheus.GaugeValue, float64(n), "headcount_streams", "Streams open now.", prometheus.Labels{"transport": string(t)})
	}
	gauge(float64(s.MaxStreams), "headcount_max_streams", "Streams that may be open at once, 0 = no limit.")
	gauge(float64(s.Rooms), "headcount_rooms", "Rooms that exist now.")
	gauge(float64(s.Events), "headcount_history_events", "Events kept now, over all rooms.")
	gauge(float64(s.EventBytes), "headcount_history_bytes", "Memory that the events kept now need.")
	show(prometheus.CounterValue, float64(s.Gaps), "headcount_gaps_total", "How often a subscriber got an io:gap, because it missed events.", nil)
	ready := 0.0
	if s.Ready == nil {
		ready = 1
	}
	gauge(ready, "headcount_ready", "1 while /readyz answers 200, else 0.")
	if s.Nodes != nil {
		gauge(float64(len(s.Nodes)), "headcount_nodes", "Live nodes, including this one.")
		show(prometheus.CounterValue, float64(s.Mismatches()), "headcount_set_mismatches_total",
			"How often this node's copy of another node's users was wrong. It then requested them again.", nil)
	}
}

// registry returns the registry for GET /metrics.
func registry(m *Metrics, stats func() engine.Stats) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		m, gauges{stats},
	)
	return registry
}
