// Command demo runs a cluster on this machine: NATS, some nodes, and a load balancer in front that knows nothing of who
// was where. Run it in the module test: go run ./cluster/demo
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"headcount/test/cluster/balance"
)

func main() {
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` of the load balancer")
	count := flag.Int("nodes", 3, "how many nodes")
	first := flag.Int("port", 8091, "`port` of the first node; the others follow, then their private listeners")
	token := flag.String("token", "dev", "bearer `token` for POST /emit")
	flag.Parse()

	dir, err := os.MkdirTemp("", "headcount-demo-")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	defer os.RemoveAll(dir)
	nats, err := startNATS(filepath.Join(dir, "nats"))
	if err != nil {
		return err
	}
	defer func() {
		nats.Shutdown()
		nats.WaitForShutdown()
	}()

	bin := filepath.Join(dir, "server")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "./server")
	build.Dir = root()
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build server: %w", err)
	}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var backends []string
	for i := range *count {
		public, private := fmt.Sprintf("127.0.0.1:%d", *first+i), fmt.Sprintf("127.0.0.1:%d", *first+*count+i)
		backends = append(backends, public)
		args := []string{"-addr", public, "-admin", private, "-nats", nats.ClientURL(), "-token", *token}
		running.Go(func() { keep(ctx, i, bin, args) })
	}
	proxy := &http.Server{Addr: *addr, Handler: balance.New(backends), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- proxy.ListenAndServe() }()

	fmt.Printf(`
%d nodes behind a load balancer that sends each request to any of them:

  http://%s
      Open it in some tabs: one count, whoever serves them. The foot of the
      page names the node that it came from.
  curl -N http://%[2]s/events
  curl -d event=news -d data=hi -H 'Authorization: Bearer %s' http://%[2]s/emit
  http://127.0.0.1:%[4]d/stats
      What a node knows of the others.

Kill a node, with the command below: nobody loses an event, its users come
back on the others, and nobody is counted twice. It is started again after
5 s, under another name. ctrl-C ends everything.

`, *count, *addr, *token, *first+*count)
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, proxy.Close())
}

func startNATS(dir string) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		return nil, fmt.Errorf("make NATS server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("NATS server does not start")
	}
	return s, nil
}

// keep runs a node, and runs it again when it ends, until ctx is done.
func keep(ctx context.Context, i int, bin string, args []string) {
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, bin, args...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 15 * time.Second
		if err := cmd.Start(); err != nil {
			log.Printf("node %d: %v", i+1, err)
			return
		}
		if name := nameOf(ctx, args[3]); name != "" {
			log.Printf("node %s at http://%s; to kill it: kill -9 %d", name, args[1], cmd.Process.Pid)
		}
		err := cmd.Wait()
		if ctx.Err() != nil {
			return
		}
		log.Printf("node at http://%s ended (%v); it is started again in 5 s", args[1], err)
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
}

// nameOf waits until the node with that private listener is one with the others, and returns what its page calls it; ""
// if that takes too long.
func nameOf(ctx context.Context, private string) string {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get("http://" + private + "/stats")
		if err != nil {
			continue
		}
		var s struct{ Node, Ready string }
		err = json.NewDecoder(resp.Body).Decode(&s)
		resp.Body.Close()
		if err == nil && s.Ready == "ok" {
			return s.Node
		}
	}
	return ""
}

// root is the directory of the repository.
func root() string {
	_, file, _, _ := runtime.Caller(0) // ROOT/test/cluster/demo/main.go
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}
