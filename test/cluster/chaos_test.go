package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"headcount/test/rig"
)

// Clients hop between three nodes on three NATS servers. Meanwhile nodes and NATS servers are killed, frozen and cut
// off from each other. Every accepted event reaches every client once, in the order of its writer. At rest all counts
// are right. If each NATS server may number the events in its own way, a client may get an io:gap instead.
// CLUSTER_TIME=5m runs the full length with 300 clients.
func TestChaos(t *testing.T) {
	t.Parallel() // it mostly waits
	clients, lasting := 60, time.Minute
	if s := os.Getenv("CLUSTER_TIME"); s != "" {
		clients = 300
		var err error
		if lasting, err = time.ParseDuration(s); err != nil {
			t.Fatalf("read CLUSTER_TIME: %v", err)
		}
	}
	net := newNetwork(t)
	servers, urls := startNATSServers(t, natsdBin(t), 3, net.route)
	var nodes []*rig.Server
	for i := range 3 {
		nodes = append(nodes, startNodes(t, 1, net.toNATS(i, strings.Split(urls, ",")), "-history", "50000")...)
	}
	all := []string{nodes[0].URL, nodes[1].URL, nodes[2].URL}
	var readers []*reader
	for i := range clients {
		id := fmt.Sprintf("client-%04d", i)
		if i%5 == 4 {
			id = "" // counted, but not followed from node to node
		}
		readers = append(readers, newReader(t, all, "lobby", id))
	}
	for _, r := range readers {
		rig.Wait(t, 30*time.Second, "first count", func() bool { return r.count() > 0 })
	}

	stop := make(chan struct{})
	var running sync.WaitGroup
	var acks acks
	var refused, twice atomic.Int64
	for w := range 3 {
		running.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(rand.N(40 * time.Millisecond)):
				}
				// Again and again, on any node, until one of them has accepted it.
				for try := 0; ; try++ {
					node, data := all[rand.IntN(3)], strconv.Itoa(w*1_000_000+i)
					code, a, err := emit(node, "lobby", "n", data, "key-"+data)
					if err == nil && code == http.StatusOK {
						acks.add(data, ack{at: time.Now(), node: node, id: a.ID, tries: try + 1})
						break
					}
					if try == 0 {
						twice.Add(1)
					}
					refused.Add(1)
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	running.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(rand.N(2 * time.Second / time.Duration(clients) * 10)):
				readers[rand.IntN(clients)].hop("")
			}
		}
	})

	faults := []string{"cut leader off", "kill node", "cut node off", "kill leader", "freeze node", "kill NATS", "restart node"}
	end := time.Now().Add(lasting)
	for i := 0; time.Now().Before(end); i++ {
		time.Sleep(4 * time.Second)
		at := rand.IntN(3)
		n, s := nodes[at], servers[rand.IntN(3)]
		fault := faults[i%len(faults)]
		t.Logf("%v before the end: %s", time.Until(end).Round(time.Second), fault)
		switch fault {
		case "kill node":
			n.Kill()
			time.Sleep(rand.N(5 * time.Second))
			n.Restart()
		case "restart node":
			n.Restart()
		case "freeze node":
			pid := n.Pid()
			syscall.Kill(pid, syscall.SIGSTOP)
			time.Sleep(2*time.Second + rand.N(6*time.Second))
			syscall.Kill(pid, syscall.SIGCONT)
		case "cut node off":
			net.cutNode(at, true)
			time.Sleep(2*time.Second + rand.N(8*time.Second))
			net.cutNode(at, false)
		case "cut leader off":
			// From the other servers, not from the nodes that are connected to it.
			at := slices.Index(servers, leader(t, servers, urls))
			net.cutServer(at, true)
			time.Sleep(8*time.Second + rand.N(8*time.Second))
			net.cutServer(at, false)
		case "kill leader":
			s = leader(t, servers, urls)
			fallthrough
		case "kill NATS":
			s.kill()
			time.Sleep(rand.N(5 * time.Second))
			s.start()
		}
	}
	close(stop)
	running.Wait()
	for _, n := range nodes {
		rig.Wait(t, 30*time.Second, n.URL+" is ready", func() bool { return status(n.URL+"/readyz") == http.StatusOK })
	}

	rest := time.Now().Add(60 * time.Second)
	gaps, told := 0, 0
	for i, r := range readers {
		settle(time.Until(rest), func() bool {
			untold, _ := acks.lacking(r)
			return len(untold) == 0
		})
		gaps += checkOrder(t, i, r, &acks)
		untold, of := acks.lacking(r)
		told += of
		if len(untold) > 0 {
			t.Errorf("reader %d (%s): got no word of %d events, such as %s", i, r.id, len(untold), untold[0])
		}
	}
	if gaps > 0 && !drifts(t, urls) {
		t.Errorf("readers were told of %d gaps, want none", gaps)
	}
	if t.Failed() {
		acks.explain(t, urls, servers, readers)
	}
	for _, n := range nodes {
		settle(30*time.Second, func() bool { return count(n.URL, "lobby") == clients })
		if got := count(n.URL, "lobby"); got != clients {
			t.Errorf("count of %s at rest: got %d, want %d", n.URL, got, clients)
		}
	}
	for i, r := range readers {
		settle(30*time.Second, func() bool { return r.count() == clients })
		if got := r.count(); got != clients {
			t.Errorf("count of reader %d at rest: got %d, want %d", i, got, clients)
		}
	}
	opens := 0
	for _, r := range readers {
		opens += r.opens()
	}
	t.Logf("%d clients opened %d streams; %d events were accepted, %d of them not at the first try (%d attempts refused)",
		clients, opens, len(acks.byData), twice.Load(), refused.Load())
	if !t.Failed() && gaps == 0 {
		t.Logf("each client got each event once, in the order of its writer; at rest all nodes and clients count %d", clients)
	}
	if gaps > 0 {
		t.Logf("clients were told of %d gaps, and never got %d events", gaps, told)
	}
}

// checkOrder fails the test unless the reader got the events of each writer in order. It returns how many times the
// reader got an io:gap. After an io:gap, events may come again that were accepted before it, in the order that NATS
// has now.
func checkOrder(t *testing.T, i int, r *reader, acks *acks) (gaps int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var next [3]int
	var gap time.Time
	for at, e := range r.events {
		if e.Name == "io:gap" {
			gaps++
			gap, next = e.At, [3]int{}
			continue
		}
		v, err := strconv.Atoi(e.Data)
		if err != nil {
			t.Errorf("reader %d (%s): got %s %s", i, r.id, e.Name, e.Data)
			return gaps
		}
		if acks.byData[e.Data].at.Before(gap) {
			continue
		}
		w, n := v/1_000_000, v%1_000_000
		if n < next[w] {
			t.Errorf("reader %d (%s): got event %d of writer %d behind %d", i, r.id, n, w, next[w]-1)
			for k := max(at-8, 0); k < min(at+8, len(r.events)); k++ {
				t.Logf("  near it, at %s: %s %s, %s", r.events[k].At.Format(clock), r.events[k].Name, r.events[k].Data, r.events[k].ID)
			}
			return gaps
		}
		next[w] = n + 1
	}
	return gaps
}

// settle waits until ok holds, at most until the deadline.
func settle(deadline time.Duration, ok func() bool) {
	for end := time.Now().Add(deadline); !ok() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

// network is the network between three nodes and three NATS servers, and between the servers.
type network struct {
	t      *testing.T
	routes [3][3]*link // from which server to which
	nodes  [3][]*link  // of which node
}

func newNetwork(t *testing.T) *network { return &network{t: t} }

// route returns the address at which one server reaches another.
func (n *network) route(from, to int, addr string) string {
	k := newLink(n.t, addr)
	n.routes[from][to] = k
	return k.addr()
}

// toNATS returns the URLs at which the node reaches the servers.
func (n *network) toNATS(node int, urls []string) string {
	var ways []string
	for _, u := range urls {
		k := newLink(n.t, strings.TrimPrefix(u, "nats://"))
		n.nodes[node] = append(n.nodes[node], k)
		ways = append(ways, k.URL())
	}
	return strings.Join(ways, ",")
}

// cutNode cuts a node off from all servers, or connects it again.
func (n *network) cutNode(node int, off bool) {
	for _, k := range n.nodes[node] {
		k.hold(off)
	}
}

// cutServer cuts a server off from the others, or connects it again.
func (n *network) cutServer(server int, off bool) {
	for other := range n.routes {
		if other != server {
			n.routes[server][other].hold(off)
			n.routes[other][server].hold(off)
		}
	}
}
