package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/test/rig"
)

// natsd is a NATS server in a process of its own.
type natsd struct {
	t    *testing.T
	name string
	URL  string
	bin  string
	args []string
	log  string    // file
	cmd  *exec.Cmd // nil while it is not running
}

// buildNatsd builds the NATS server that go.mod names. The environment variable NATS_SERVER names another binary to
// use, such as Debian's /usr/sbin/nats-server.
var buildNatsd = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("NATS_SERVER"); bin != "" {
		return bin, nil
	}
	dir, err := os.MkdirTemp("", "headcount-natsd-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "natsd")
	cmd := exec.Command("go", "build", "-o", bin, "./natsd")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build natsd: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := buildNatsd(); err == nil && os.Getenv("NATS_SERVER") == "" {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// startNATSCluster runs a cluster of NATS servers. It returns them and the URLs of all.
func startNATSCluster(t *testing.T, count int) ([]*natsd, string) {
	t.Helper()
	return startNATSServers(t, natsdBin(t), count, func(_, _ int, addr string) string { return addr })
}

func natsdBin(t *testing.T) string {
	t.Helper()
	bin, err := buildNatsd()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// startNATSServers is startNATSCluster with a given binary. The function way returns the address at which one server
// reaches another one.
func startNATSServers(t *testing.T, bin string, count int, way func(from, to int, addr string) string) ([]*natsd, string) {
	t.Helper()
	var servers []*natsd
	var clients, routes []string
	for range count {
		clients = append(clients, "nats://"+rig.FreeAddr(t))
		routes = append(routes, rig.FreeAddr(t))
	}
	for i := range count {
		name := fmt.Sprintf("nats-%d", i)
		dir := t.TempDir()
		log := filepath.Join(dir, "log")
		args := []string{"-n", name, "-a", "127.0.0.1", "-p", fmt.Sprint(port(clients[i])), "-js", "-sd", dir, "-l", log}
		if count > 1 {
			var others []string
			for j, addr := range routes {
				if j != i {
					others = append(others, "nats://"+way(i, j, addr))
				}
			}
			// They tell each other where they are, but not so that they could get there past way.
			args = append(args, "-cluster", "nats://"+routes[i], "-cluster_advertise", "127.0.0.1:1",
				"-cluster_name", "headcount", "-routes", strings.Join(others, ","))
		}
		servers = append(servers, &natsd{t: t, name: name, URL: clients[i], bin: bin, args: args, log: log})
	}
	for _, s := range servers {
		s.start()
		t.Cleanup(s.kill)
	}
	urls := strings.Join(clients, ",")
	rig.Wait(t, 30*time.Second, "JetStream is there", func() bool {
		nc, err := nats.Connect(urls, nats.Timeout(time.Second))
		if err != nil {
			return false
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = js.AccountInfo(ctx)
		return err == nil && reachable(clients)
	})
	return servers, urls
}

func reachable(urls []string) bool {
	for _, u := range urls {
		c, err := net.Dial("tcp", strings.TrimPrefix(u, "nats://"))
		if err != nil {
			return false
		}
		c.Close()
	}
	return true
}

func (s *natsd) start() {
	cmd := exec.Command(s.bin, s.args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Errorf("start natsd: %v", err)
		return
	}
	s.cmd = cmd
}

// kill ends the server like a crash.
func (s *natsd) kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

// leader returns the NATS server that leads the stream of events.
func leader(t *testing.T, servers []*natsd, urls string) *natsd {
	t.Helper()
	_, js := jetStream(t, urls)
	var name string
	rig.Wait(t, 20*time.Second, "a leader of the stream", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s, err := js.Stream(ctx, "headcount_events")
		if err != nil {
			return false
		}
		if c := s.CachedInfo().Cluster; c != nil {
			name = c.Leader
		}
		return name != ""
	})
	for _, s := range servers {
		if s.name == name {
			return s
		}
	}
	t.Fatalf("no server is called %q", name)
	return nil
}

// startNodes runs each node in a process of its own.
func startNodes(t *testing.T, count int, urls string, args ...string) []*rig.Server {
	t.Helper()
	var nodes []*rig.Server
	for range count {
		nodes = append(nodes, rig.Start(t, append([]string{"-nats", urls, "-token", token, "-heartbeat", "1s"}, args...)...))
	}
	return nodes
}

var adminForm = regexp.MustCompile(`msg="admin listening" addr=(\S+)`)

// statsOf returns the cluster part of /stats of a process.
func statsOf(t *testing.T, n *rig.Server) (s stats) {
	t.Helper()
	found := adminForm.FindAllStringSubmatch(n.Log(), -1) // it may have been restarted
	if len(found) == 0 {
		t.Fatalf("the log does not say where /stats is:\n%s", n.Log())
	}
	resp, err := http.Get("http://" + found[len(found)-1][1] + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatalf("/stats: %v", err)
	}
	return s
}

// missed waits until /stats of a node shows that another node is silent, and then that it has expired.
func missed(t *testing.T, n *rig.Server, nodes int) {
	t.Helper()
	rig.Wait(t, 5*time.Second, "/stats shows a node that is silent", func() bool {
		return slices.ContainsFunc(statsOf(t, n).Nodes, func(one nodeSeen) bool { return one.Age > 1.5 })
	})
	if got := statsOf(t, n); len(got.Nodes) != nodes || got.Cluster != "ok" {
		t.Errorf("/stats while a node is silent: got %+v, want ok and %d nodes", got, nodes)
	}
	rig.Wait(t, 5*time.Second, "it is gone from /stats", func() bool { return len(statsOf(t, n).Nodes) == nodes-1 })
	rig.Wait(t, 5*time.Second, "the log to say so", func() bool { return strings.Contains(n.Log(), `msg="node expired"`) })
	if got := status(n.URL + "/readyz"); got != http.StatusOK {
		t.Errorf("/readyz of a node that is well: got %d, want 200", got)
	}
}

// Within 6 s of the death of a node, its users are in nobody's count.
func TestKilledNode(t *testing.T) {
	_, urls := startNATSCluster(t, 1)
	nodes := startNodes(t, 3, urls)
	watchers := []*reader{read(t, nodes[0].URL, "lobby", "watcher-0000"), read(t, nodes[2].URL, "lobby", "watcher-0001")}
	for i := range 10 {
		r := newReader(t, []string{nodes[1].URL}, "lobby", fmt.Sprintf("client-%04d", i))
		rig.Wait(t, 5*time.Second, "first count", func() bool { return r.count() > 0 })
		r.strand()
	}
	for _, w := range watchers {
		w.await(t, 12)
	}
	begin := time.Now()
	nodes[1].Kill()
	missed(t, nodes[0], 3)
	for _, w := range watchers {
		w.await(t, 2)
	}
	t.Logf("10 users of a killed node were out of the count after %v", time.Since(begin))
	if time.Since(begin) > 6*time.Second {
		t.Errorf("users of a killed node were counted for %v, want at most 6s", time.Since(begin))
	}
	nodes[1].Restart()
	read(t, nodes[1].URL, "lobby", "client-back")
	for _, w := range watchers {
		w.await(t, 3)
	}
}

// The users of a killed node reconnect to other nodes at once, and nobody sees one of them twice.
func TestNeverTwice(t *testing.T) {
	t.Parallel()
	_, urls := startNATSCluster(t, 1)
	nodes := startNodes(t, 3, urls)
	const users = 20
	watchers := []*reader{read(t, nodes[0].URL, "lobby", "watcher-0000"), read(t, nodes[2].URL, "lobby", "watcher-0001")}
	var readers []*reader
	for i := range users {
		readers = append(readers, read(t, nodes[1].URL, "lobby", fmt.Sprintf("client-%04d", i)))
	}
	for _, w := range watchers {
		w.await(t, users+2)
		w.forget()
	}
	for i, r := range readers {
		r.mu.Lock()
		r.node = nodes[i%2*2].URL // where it goes when this one ends
		r.mu.Unlock()
	}
	nodes[1].Kill()
	for _, r := range readers {
		rig.Wait(t, 10*time.Second, "reader is back", func() bool { return r.opens() > 1 })
	}
	time.Sleep(6 * time.Second) // the dead node's name expires meanwhile
	for i, w := range watchers {
		for _, got := range w.seen() {
			if got != users+2 {
				t.Errorf("watcher %d saw %v, want %d only", i, w.seen(), users+2)
				break
			}
		}
	}
}

// A node is frozen for 20 s, so long that the other nodes and its own clients give it up. When it thaws, it counts
// again. Users who moved elsewhere meanwhile are counted once. Users who stayed get the events that they missed.
func TestFrozenNode(t *testing.T) {
	t.Parallel()
	_, urls := startNATSCluster(t, 1)
	nodes := startNodes(t, 2, urls)
	watcher := read(t, nodes[0].URL, "lobby", "watcher-0000")
	stays := read(t, nodes[1].URL, "lobby", "client-stays")
	goes := read(t, nodes[1].URL, "lobby", "client-goes0")
	watcher.await(t, 3)
	syscall.Kill(nodes[1].Pid(), syscall.SIGSTOP)
	begin := time.Now()
	goes.hop(nodes[0].URL)
	missed(t, nodes[0], 2)
	watcher.await(t, 2)
	t.Logf("users of a frozen node were out of the count after %v", time.Since(begin))
	emitNumbers(t, nodes[0].URL, 1, 5)
	awaitData(t, goes, numbers(1, 5)...)
	time.Sleep(time.Until(begin.Add(20 * time.Second)))
	syscall.Kill(nodes[1].Pid(), syscall.SIGCONT)
	watcher.await(t, 3)
	stays.await(t, 3)
	goes.await(t, 3)
	for _, n := range nodes {
		rig.Wait(t, 10*time.Second, "/stats shows both nodes", func() bool { s := statsOf(t, n); return len(s.Nodes) == 2 && s.Cluster == "ok" })
		if got := status(n.URL + "/readyz"); got != http.StatusOK {
			t.Errorf("/readyz after the thaw: got %d, want 200", got)
		}
	}
	if !strings.Contains(nodes[0].Log(), `msg="node joined"`) {
		t.Errorf("the log of the other node says nothing of it:\n%s", nodes[0].Log())
	}
	time.Sleep(3 * time.Second)
	for _, r := range []*reader{watcher, stays, goes} {
		if r.count() != 3 {
			t.Errorf("count of %s after the thaw: got %v, want 3", r.id, r.seen())
		}
		awaitData(t, r, numbers(1, 5)...)
	}
}
