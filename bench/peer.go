package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A peer is a server that the benchmark knows how to install, start and load.
type peer struct {
	name  string
	about string
	// prepare installs the peer and returns its command line, in which PORT stands for the port. Its own files go
	// into dir. An error is a line in the report: this peer could not be installed.
	prepare func(ctx context.Context, dir string) ([]string, error)
	env     []string

	path      string // of a stream, see load.Config
	idlePath  string // the same for the scenario of idle streams; empty: path
	webSocket bool
	tls       bool
	counts    counts
	publish   publish
	only      string // letters of the scenarios it takes part in, empty: all
}

// counts says whether a server tells everybody how many there are.
type counts int

const (
	never  counts = iota // not its job
	asked                // only after POST /count, because its streams would otherwise never get open
	always               // from the start
)

// publish says how an event is sent through a peer.
type publish struct {
	path  string
	token string
	wrap  func(data []byte) []byte
}

// peers are all that the benchmark knows, in the order of the report.
func peers() []peer {
	plain := publish{path: "/publish"}
	headcount := headcountPeer()
	rooms, epoll, portable := headcount, headcount, headcount
	rooms.name, rooms.about, rooms.only = "headcount-rooms", "headcount, in rooms of 50: connecting without telling 10,000 of it", "a"
	rooms.idlePath = "/events?room=r{room}&id=benchmark-{i}"
	epoll.name, epoll.about = "headcount-epoll", "headcount with HEADCOUNT_WRITER=epoll, one write(2) for each delivery"
	epoll.env = append([]string{"HEADCOUNT_WRITER=epoll"}, headcount.env...)
	portable.name, portable.about = "headcount-stream", "headcount with HEADCOUNT_WRITER=stream, the portable writer"
	portable.env = append([]string{"HEADCOUNT_WRITER=stream"}, headcount.env...)
	secure, secureRooms, secureStream := headcount, rooms, portable
	secure.name, secure.about, secure.tls = "headcount-tls", "headcount over TLS 1.3", true
	secureRooms.name, secureRooms.about, secureRooms.tls = "headcount-rooms-tls", "the same rooms over TLS 1.3", true
	secureStream.name, secureStream.about, secureStream.tls = "headcount-stream-tls", "headcount over TLS 1.3, the portable writer", true
	return []peer{
		headcount,
		rooms,
		epoll,
		portable,
		secure,
		secureRooms,
		secureStream,
		{name: "floor", about: "bare loop of write(2) in C, no HTTP: the floor of one system call per delivery",
			prepare: prepareFloor, path: "/", publish: plain},
		{name: "nchan", about: "nginx with nchan, Debian's packages, two workers",
			prepare: prepareNchan, path: "/events", publish: plain},
		{name: "nchan-tls", about: "the same over TLS 1.3", tls: true,
			prepare: prepareNchanTLS, path: "/events", publish: plain},
		{name: "socket.io", about: "Socket.IO 4.8 on Node, the lesson's own program, over WebSocket",
			prepare: prepareSocketIO, path: "/socket.io/?EIO=4&transport=websocket", webSocket: true,
			counts: asked, publish: plain},
		{name: "centrifuge", about: "github.com/centrifugal/centrifuge, Server-Sent Events",
			prepare: goPeer("centrifuge"), path: `/events?cf_connect=%7B%22id%22:1,%22connect%22:%7B%7D%7D`, publish: plain},
		{name: "go-sse", about: "github.com/tmaxmax/go-sse",
			prepare: goPeer("gosse"), path: "/events", publish: plain},
		{name: "go-sse-tls", about: "the same over TLS 1.3", tls: true,
			prepare: goPeer("gosse"), path: "/events", publish: plain},
		{name: "r3labs", about: "github.com/r3labs/sse/v2 on Echo, as its README has it",
			prepare: goPeer("r3labs"), path: "/events?stream=lobby", counts: asked, publish: plain},
		{name: "mercure", about: "github.com/dunglas/mercure",
			prepare: prepareMercure},
	}
}

// goPeer builds one of the small programs below peers/.
func goPeer(name string) func(context.Context, string) ([]string, error) {
	return func(ctx context.Context, dir string) ([]string, error) {
		return buildGo(ctx, dir, name, ".", "./peers/"+name)
	}
}

// buildGo builds the package below the module in source.
func buildGo(ctx context.Context, dir, name, source, pkg string) ([]string, error) {
	program := filepath.Join(dir, name)
	if err := run(ctx, source, "go", "build", "-o", program, pkg); err != nil {
		return nil, err
	}
	return []string{program, "PORT"}, nil
}

// run runs a command in a directory; its output is in the error only.
func run(ctx context.Context, dir string, args ...string) error {
	command := exec.CommandContext(ctx, args[0], args[1:]...)
	command.Dir = dir
	out, err := command.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("run %s: %w: %s", strings.Join(args, " "), err, lines[len(lines)-1])
	}
	return nil
}

// need fails unless a file or program is there, and says what to install.
func need(what, install string) error {
	_, err := exec.LookPath(what)
	if strings.HasPrefix(what, "/") {
		_, err = os.Stat(what)
	}
	if err != nil {
		return fmt.Errorf("find %s: %w: %s", what, err, install)
	}
	return nil
}
