// Command bench measures headcount and the servers that users would otherwise pick, all in one run on one machine.
//
//	go run . -h
//
// The map: [peers] are the servers (peer_*.go installs one each, peers/ holds their programs, floor/ the floor);
// [scenarios] are the questions (scenario_*.go, one each); package load is the one generator that loads all of them;
// report.go, table.go, goal.go and picture.go tell what came out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"headcount/bench/load"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == load.Argument {
		if err := load.Serve(0, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "generator:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		stop()
		os.Exit(2)
	}
}

// options say what is measured and for how long.
type options struct {
	scenarios []string
	peers     []string
	streams   int // 0: as the scenario has it
	runs      int
	quick     bool
	out       string
	doc       string

	limit      time.Duration // of a storm and of opening streams
	settle     time.Duration // before memory is looked at
	churn      time.Duration
	deliveries int // of one fan-out
	dir        string
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	o := options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	letters := flags.String("scenario", "a,b,c,d,e,f", "letters of the scenarios")
	names := flags.String("peers", "headcount,headcount-rooms,headcount-tls,headcount-rooms-tls,floor,nchan,nchan-tls,socket.io,centrifuge,go-sse,go-sse-tls,r3labs,mercure",
		"servers, also: headcount-epoll, headcount-stream, headcount-stream-tls")
	flags.IntVar(&o.runs, "runs", 3, "how often everything is measured")
	flags.IntVar(&o.streams, "streams", 0, "number of streams instead of the scenarios' own, at most 18,000")
	flags.BoolVar(&o.quick, "quick", false, "few streams, one run: does everything work?")
	flags.StringVar(&o.out, "out", "out", "directory for results.json, tables.md and the pictures")
	flags.DurationVar(&o.limit, "limit", time.Minute, "how long a storm may last")
	flags.StringVar(&o.doc, "doc", "", "Markdown `file` whose part between the marks of the tables is written anew, with the pictures of -out")
	redraw := flags.Bool("redraw", false, "measure nothing: tables and pictures from the results.json in -out")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.scenarios, o.peers = strings.Split(*letters, ","), strings.Split(*names, ",")
	o.settle, o.churn, o.deliveries = 10*time.Second, time.Minute, 400_000
	if o.quick {
		o.runs = min(o.runs, 1)
		o.settle, o.churn, o.deliveries = 2*time.Second, 5*time.Second, 20_000
		o.limit = min(o.limit, 15*time.Second)
	}
	if *redraw {
		o.runs = 0
	}
	for _, letter := range o.scenarios {
		if !slices.ContainsFunc(scenarios(), func(sc scenario) bool { return sc.letter == letter }) {
			return o, fmt.Errorf("read -scenario: no scenario %q, there are a to f", letter)
		}
	}
	for _, name := range o.peers {
		if !slices.ContainsFunc(peers(), func(p peer) bool { return p.name == name }) {
			return o, fmt.Errorf("read -peers: no server %q", name)
		}
	}
	if o.streams < 0 || o.streams > 18_000 {
		return o, fmt.Errorf("read -streams: %d is not between 0 and 18000", o.streams)
	}
	return o, nil
}

func bench(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	if o.runs == 0 {
		r, err := readReport(o.out)
		if err != nil {
			return err
		}
		return r.write(o, stdout)
	}
	if o.dir, err = os.MkdirTemp("", "headcount-bench-"); err != nil {
		return fmt.Errorf("create work directory: %w", err)
	}
	defer os.RemoveAll(o.dir)
	if err := os.Chmod(o.dir, 0o755); err != nil {
		return fmt.Errorf("open work directory: %w", err)
	}
	if err := writeCertificate(o.dir); err != nil {
		return err
	}

	r := newReport(o)
	var entrants []entrant
	for _, p := range peers() {
		if !slices.Contains(o.peers, p.name) {
			continue
		}
		fmt.Fprintf(stderr, "prepare %s\n", p.name)
		line, err := p.prepare(ctx, o.dir)
		if err != nil && p.name == "headcount" {
			return err // there is nothing to compare with
		}
		if err != nil {
			r.Absent = append(r.Absent, absence{Peer: p.name, Why: err.Error()})
			fmt.Fprintf(stderr, "  not installed: %v\n", err)
			continue
		}
		entrants = append(entrants, entrant{peer: p, line: line})
	}
	for run := 1; run <= o.runs && ctx.Err() == nil; run++ {
		for _, sc := range scenarios() {
			if slices.Contains(o.scenarios, sc.letter) {
				measure(ctx, sc, entrants, run, o, r, stderr)
			}
		}
		// After each run, so that an end before the last one loses nothing.
		if err := r.save(o.out); err != nil {
			return err
		}
	}
	return errors.Join(ctx.Err(), r.write(o, stdout))
}

// An entrant is a peer that is installed.
type entrant struct {
	peer peer
	line []string
}

func (e entrant) takesPart(sc scenario) bool {
	if sc.counting && e.peer.counts == never {
		return false
	}
	return e.peer.only == "" || strings.Contains(e.peer.only, sc.letter)
}

// measure asks one question of all servers, one after the other and each run beginning with another one, so that a
// machine whose speed drifts is as unfair to all of them.
func measure(ctx context.Context, sc scenario, entrants []entrant, run int, o options, r *report, stderr io.Writer) {
	sizes := sc.streams
	if o.quick {
		sizes = sc.quick
	}
	if o.streams > 0 {
		sizes = []int{o.streams}
	}
	for _, streams := range sizes {
		for i := range entrants {
			e := entrants[(i+run-1)%len(entrants)]
			if ctx.Err() != nil || !e.takesPart(sc) {
				continue
			}
			if r.gaveUp(sc.letter, e.peer.name, streams) {
				continue // it would not come to the end in the next run either
			}
			began := time.Now()
			t, err := runTrial(ctx, sc, e.peer, e.line, streams, o)
			result := result{Run: run, Scenario: sc.letter, Peer: e.peer.name, Streams: streams}
			if t != nil {
				result.Figures, result.Remark = t.figures, strings.TrimSpace(t.remark)
			}
			if errors.Is(err, errUnfinished) {
				result.Unfinished = true
			} else if err != nil {
				result.Remark = "error: " + err.Error()
			}
			r.Results = append(r.Results, result)
			fmt.Fprintf(stderr, "run %d (%s) %5d %-16s %5.1fs %s\n", run, sc.letter, streams, e.peer.name,
				time.Since(began).Seconds(), result.line(sc))
		}
	}
}
