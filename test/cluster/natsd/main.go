// Command natsd is a NATS server with JetStream, as a process of its own: for tests that kill it, and for the demo.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "natsd:", err)
		os.Exit(1)
	}
}

func run() error {
	opts := server.Options{Host: "127.0.0.1", JetStream: true, NoSigs: true}
	var routes string
	flag.StringVar(&opts.ServerName, "name", "nats", "`name` of the server")
	flag.IntVar(&opts.Port, "port", 4222, "`port` for clients")
	flag.StringVar(&opts.StoreDir, "store", "", "`directory` for what is kept")
	flag.IntVar(&opts.Cluster.Port, "cluster-port", 0, "`port` for the other servers; 0 = alone")
	flag.StringVar(&routes, "routes", "", "`URLs` of the other servers, comma-separated")
	flag.Int64Var(&opts.JetStreamMaxStore, "max-store", 1<<30, "`bytes` that may be kept in files")
	flag.Int64Var(&opts.JetStreamMaxMemory, "max-memory", 1<<30, "`bytes` that may be kept in memory")
	flag.StringVar(&opts.LogFile, "log", "", "`file` for the log")
	flag.Parse()
	if opts.StoreDir == "" {
		return errors.New("-store is missing; give a directory")
	}
	if opts.Cluster.Port != 0 {
		opts.Cluster.Name, opts.Cluster.Host = "headcount", "127.0.0.1"
		for r := range strings.SplitSeq(routes, ",") {
			u, err := url.Parse(r)
			if err != nil {
				return fmt.Errorf("read -routes: %w", err)
			}
			opts.Routes = append(opts.Routes, u)
		}
	}
	opts.NoLog = opts.LogFile == ""
	s, err := server.NewServer(&opts)
	if err != nil {
		return fmt.Errorf("make server: %w", err)
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("server does not start; is the port in use?")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}
