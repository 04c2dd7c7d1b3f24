package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"headcount/internal/cluster"
	"headcount/internal/engine"
	"headcount/internal/hub"
	"headcount/internal/presence"
)

// node is a node without readers.
type node struct {
	hub     *hub.Hub
	table   *presence.Table
	cluster engine.Node
	stop    func()
}

func newNode(url string) (*node, error) {
	b, err := cluster.New(cluster.Options{Servers: url})
	if err != nil {
		return nil, err
	}
	n := &node{table: presence.NewJournaled(0)}
	if n.hub, n.cluster, err = b.Join(hub.Options{}, n.table); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = n.cluster.Run(ctx) })
	running.Go(func() { n.follow(ctx) })
	n.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	return n, nil
}

// count is what readers of a room would be shown.
func (n *node) count(room string) int { return n.cluster.Count(context.Background(), room) }

// publish tells the readers of a room, as the engine does.
func (n *node) publish(room string) {
	if r := n.hub.Lookup(room); r != nil {
		r.Update("user count", func() []byte { return strconv.AppendInt(nil, int64(n.count(room)), 10) })
	}
}

// follow applies what the other nodes change. There are no leases to renew.
func (n *node) follow(ctx context.Context) {
	for {
		changes, err := n.cluster.Next(ctx)
		if err != nil {
			return
		}
		for _, c := range changes {
			for _, id := range c.Left {
				n.table.Leave(c.Room, id)
			}
			if len(c.Left) > 0 {
				n.cluster.Changed(c.Room)
			}
			n.publish(c.Room)
		}
	}
}

// relay passes connections on to NATS until it is cut.
type relay struct {
	l net.Listener

	mu    sync.Mutex
	conns []net.Conn
	gone  bool
}

func newRelay(url string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	r := &relay{l: l}
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
			if err != nil {
				a.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, a, b)
			gone := r.gone
			r.mu.Unlock()
			if gone {
				r.cut()
			}
			go io.Copy(a, b)
			go io.Copy(b, a)
		}
	}()
	return r, nil
}

func (r *relay) url() string { return "nats://" + r.l.Addr().String() }

func (r *relay) cut() {
	r.l.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	for _, c := range r.conns {
		c.Close()
	}
}

// natsProcess is NATS in a process of its own, so that its CPU time can be told apart.
type natsProcess struct {
	url     string
	monitor string
	cmd     *exec.Cmd
	dir     string
}

func startNATS(ctx context.Context) (*natsProcess, error) {
	dir, err := os.MkdirTemp("", "headcount-simulate-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	_, file, _, _ := runtime.Caller(0) // ROOT/test/cluster/simulate/node.go
	bin := filepath.Join(dir, "natsd")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cluster/natsd")
	build.Dir = filepath.Join(filepath.Dir(file), "..", "..")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("build natsd: %w", err), os.RemoveAll(dir))
	}
	var ports []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("find a port: %w", err), os.RemoveAll(dir))
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
		l.Close()
	}
	p := &natsProcess{
		url: "nats://127.0.0.1:" + ports[0], monitor: "http://127.0.0.1:" + ports[1] + "/varz", dir: dir,
		cmd: exec.Command(bin, "-a", "127.0.0.1", "-p", ports[0], "-m", ports[1], "-js", "-sd", dir, "-l", filepath.Join(dir, "log")),
	}
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start natsd: %w", err), os.RemoveAll(dir))
	}
	return p, nil
}

func (p *natsProcess) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
	_ = os.RemoveAll(p.dir)
}

// flow is what has gone one way.
type flow struct{ msgs, bytes float64 }

type traffic struct{ in, out flow }

func (t traffic) since(before traffic) (in, out flow) {
	return flow{t.in.msgs - before.in.msgs, t.in.bytes - before.in.bytes}, flow{t.out.msgs - before.out.msgs, t.out.bytes - before.out.bytes}
}

// traffic is how much NATS has received and sent, by its own count.
func (p *natsProcess) traffic() traffic {
	resp, err := http.Get(p.monitor)
	if err != nil {
		return traffic{}
	}
	defer resp.Body.Close()
	var v struct {
		InMsgs   float64 `json:"in_msgs"`
		OutMsgs  float64 `json:"out_msgs"`
		InBytes  float64 `json:"in_bytes"`
		OutBytes float64 `json:"out_bytes"`
	}
	if json.NewDecoder(resp.Body).Decode(&v) != nil {
		return traffic{}
	}
	return traffic{flow{v.InMsgs, v.InBytes}, flow{v.OutMsgs, v.OutBytes}}
}

// cpu is the CPU time that NATS has used.
func (p *natsProcess) cpu() time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// "(2) comm … in parentheses": the fields behind it are 3 and up, utime and stime 14 and 15, in hundredths of a
	// second.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
