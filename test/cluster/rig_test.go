// Package cluster tests several real nodes on real NATS servers. The fast tests run in one process, the others in one
// process per node.
package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/auth"
	"headcount/internal/cluster"
	"headcount/internal/engine"
	"headcount/internal/httpapi"
	"headcount/internal/hub"
	"headcount/internal/presence"
	"headcount/test/rig"
)

const token = "secret"

// natsServer is one NATS server. It runs in this process if possible.
type natsServer struct {
	URL     string
	monitor string
	stop    func()
}

// startNATS runs a NATS server on a port (0 = any). It keeps its files in dir, at most limit bytes (0 = no limit). The
// environment variable NATS_SERVER names another binary than that of go.mod.
func startNATS(t *testing.T, port int, dir string, limit ...int64) *natsServer {
	t.Helper()
	return startNATSOf(t, os.Getenv("NATS_SERVER"), port, dir, limit...)
}

// runNATS runs a NATS server in this process, without JetStream if opt does not say so. stop stops it earlier than the
// end of the test.
func runNATS(t *testing.T, opt *server.Options) (s *server.Server, stop func()) {
	t.Helper()
	opt.Host, opt.NoSigs, opt.NoLog = "127.0.0.1", true, true
	s, err := server.NewServer(opt)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	stop = func() {
		s.Shutdown()
		s.WaitForShutdown()
	}
	t.Cleanup(stop)
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	return s, stop
}

// startNATSOf is startNATS with the binary, "" = the server of go.mod.
func startNATSOf(t *testing.T, bin string, port int, dir string, limit ...int64) *natsServer {
	t.Helper()
	addr, monitor := rig.FreeAddr(t), rig.FreeAddr(t)
	if port == 0 {
		port = portOf(addr)
	}
	n := &natsServer{URL: fmt.Sprintf("nats://127.0.0.1:%d", port), monitor: "http://" + monitor}
	if bin != "" {
		config := filepath.Join(dir, "config")
		text := fmt.Sprintf("jetstream { store_dir: %q", dir)
		if len(limit) > 0 {
			text += fmt.Sprintf(", max_file_store: %d", limit[0])
		}
		if err := os.WriteFile(config, []byte(text+" }\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		p := &natsd{t: t, name: "nats", URL: n.URL, bin: bin, args: []string{"-c", config, "-a", "127.0.0.1", "-p", strconv.Itoa(port),
			"-m", strconv.Itoa(portOf(monitor)), "-l", filepath.Join(dir, "log")}}
		p.start()
		n.stop = p.kill
		t.Cleanup(n.stop)
		rig.Wait(t, 10*time.Second, "NATS", func() bool { return reachable([]string{n.URL}) })
	} else {
		opts := &server.Options{
			Port: port, JetStream: true, StoreDir: dir, HTTPHost: "127.0.0.1", HTTPPort: portOf(monitor),
		}
		if len(limit) > 0 {
			opts.JetStreamMaxStore, opts.JetStreamMaxMemory = limit[0], 1<<28
		}
		_, n.stop = runNATS(t, opts)
	}
	return n
}

// traffic returns how many bytes the server has received and sent.
func (n *natsServer) traffic(t *testing.T) (in, out int64) {
	t.Helper()
	resp, err := http.Get(n.monitor + "/varz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var v struct {
		In  int64 `json:"in_bytes"`
		Out int64 `json:"out_bytes"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v.In, v.Out
}

// portOf is the port of an address.
func portOf(addr string) int {
	_, text, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(text)
	return n
}

// port is the port of a URL.
func port(text string) int {
	u, _ := url.Parse(text)
	n, _ := strconv.Atoi(u.Port())
	return n
}

// node is one node in this process.
type node struct {
	URL     string
	engine  *engine.Engine
	cluster engine.Node // nil if it is alone
	log     *rig.Buffer
	stop    func()
}

// joiner is a backend that gives the tests access to what the engine gets.
type joiner struct {
	engine.Backend
	n *node
}

func (j joiner) Join(rooms hub.Options, users *presence.Table) (h *hub.Hub, n engine.Node, err error) {
	h, j.n.cluster, err = j.Backend.Join(rooms, users)
	return h, j.n.cluster, err
}

// options are the options of a node, without those of its cluster.
type options struct {
	engine.Options
	MaxEvent int64
}

// startNode runs a node, without a cluster if urls is "". It returns when the node is ready, if NATS is running.
func startNode(t *testing.T, urls string, change ...func(*options, *cluster.Options)) *node {
	t.Helper()
	n := &node{log: &rig.Buffer{}}
	log := slog.New(slog.NewTextHandler(n.log, nil))
	opt := options{Options: engine.Options{Heartbeat: time.Second, Linger: 2 * time.Second, Log: log}}
	copt := cluster.Options{Servers: urls, Log: log}
	for _, f := range change {
		f(&opt, &copt)
	}
	if urls != "" {
		b, err := cluster.New(copt)
		if err != nil {
			t.Fatal(err)
		}
		opt.Backend = joiner{b, n}
	}
	var err error
	if n.engine, err = engine.New(opt.Options); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = n.engine.Run(ctx) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	public := &http.Server{Handler: n.routes(opt.MaxEvent, log)}
	running.Go(func() { public.Serve(l) })
	n.URL = "http://" + l.Addr().String()
	var once sync.Once
	n.stop = func() {
		once.Do(func() {
			public.Close()
			n.engine.Close()
			cancel()
			running.Wait()
		})
	}
	t.Cleanup(func() {
		n.stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", n.URL, n.log)
		}
	})
	return n
}

// routes returns the handler of a node. Like the server, it accepts an emit only with the token.
func (n *node) routes(maxEvent int64, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	policy := &auth.Policy{Token: token}
	mux.Handle("/", httpapi.New(httpapi.Options{
		Engine: n.engine, MaxEvent: maxEvent, Log: log,
		Authorize: func(r *http.Request, a httpapi.Access) error {
			_, err := policy.Authorize(r, a.Room, a.Event)
			return err
		},
	}))
	mux.Handle("/readyz", httpapi.Errors{Log: log}.Handle(func(w http.ResponseWriter, _ *http.Request) error {
		s := n.engine.Stats()
		if s.Ready == nil && s.Degraded != "" {
			fmt.Fprintf(w, "ok, but %s\n", s.Degraded)
		}
		return s.Ready
	}))
	return mux
}

// ready waits until the node reports that it is ready.
func (n *node) ready(t *testing.T) *node {
	t.Helper()
	rig.Wait(t, 10*time.Second, n.URL+" is ready", func() bool { return status(n.URL+"/readyz") == http.StatusOK })
	return n
}

// stats is the cluster part of /stats.
type stats struct {
	Cluster string     `json:"cluster"`
	Nodes   []nodeSeen `json:"nodes"`
}

type nodeSeen struct {
	Node string  `json:"node"`
	Age  float64 `json:"last_seen_seconds"`
}

func (n *node) stats(t *testing.T) stats {
	t.Helper()
	seen := n.engine.Stats()
	s := stats{Cluster: "ok"}
	switch {
	case seen.Joined != nil:
		s.Cluster = seen.Joined.Error()
	case seen.Degraded != "":
		s.Cluster = "ok, but " + seen.Degraded
	}
	for _, other := range seen.Nodes {
		s.Nodes = append(s.Nodes, nodeSeen{other.Name, other.Heard.Seconds()})
	}
	return s
}

// readyz returns the body of /readyz.
func readyz(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func status(url string) int {
	resp, err := http.Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// emitted is the answer of POST /emit.
type emitted struct{ ID, Room, Error string }

// emit sends an event and returns the status and the answer.
func emit(node, room, event, data, key string) (int, emitted, error) {
	body := fmt.Sprintf(`{"event":%q,"data":%s,"room":%q}`, event, data, room)
	req, err := http.NewRequest(http.MethodPost, node+"/emit", strings.NewReader(body))
	if err != nil {
		return 0, emitted{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, emitted{}, err
	}
	defer resp.Body.Close()
	var a emitted
	err = json.NewDecoder(resp.Body).Decode(&a)
	return resp.StatusCode, a, err
}

// mustEmit is emit, and fails the test if the event is not accepted.
func mustEmit(t *testing.T, node, room, event, data string) emitted {
	t.Helper()
	code, a, err := emit(node, room, event, data, "")
	if err != nil || code != http.StatusOK {
		t.Fatalf("emit %s: got %d %v %v, want 200", event, code, a, err)
	}
	return a
}

// count returns the number of GET /count.
func count(node, room string) int {
	resp, err := http.Get(node + "/count?room=" + url.QueryEscape(room))
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	a := struct{ Users int }{-1}
	json.NewDecoder(resp.Body).Decode(&a)
	return a.Users
}

// post sends a body to /alive or /leave.
func post(t *testing.T, url, room string, ids ...string) {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"room": room, "ids": ids})
	resp, err := http.Post(url, "text/plain", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("%s: got %s, want 204", url, resp.Status)
	}
}

// jetStream is a connection of the test's own.
func jetStream(t *testing.T, url string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}
