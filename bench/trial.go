package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headcount/bench/load"
)

// A scenario is one question that the benchmark asks of every server.
type scenario struct {
	letter string
	title  string
	// counting: only servers that tell everybody how many there are take part.
	counting bool
	streams  []int
	quick    []int
	columns  []column
	run      func(context.Context, *trial) error
}

// A column is one figure of a scenario.
type column struct {
	key, title, unit string
	ratio            bool // shown as a multiple of headcount's too, and in the picture
}

// scenarios are the questions in the order of their letters.
func scenarios() []scenario {
	return []scenario{idleScenario(), fanoutScenario(), joinScenario(), leaveScenario(), stallScenario(), churnScenario()}
}

// A trial is one server before one question, once.
type trial struct {
	server  *server
	load    *load.Client
	streams int
	options options

	opened  int        // streams
	next    int64      // number of the next measured event
	last    load.Reply // of emitAll
	figures map[string]float64
	remark  string // what happened instead of, or beside, the figures
}

// errUnfinished ends a trial in which the server did not come to the end in time; the remark tells how far it came.
var errUnfinished = errors.New("not done")

func (t *trial) unfinished(format string, args ...any) error {
	t.remark = fmt.Sprintf(format, args...)
	return errUnfinished
}

func (t *trial) set(key string, value float64) { t.figures[key] = value }

// runTrial starts the server and a generator for it, asks, and ends both.
func runTrial(ctx context.Context, sc scenario, p peer, line []string, streams int, o options) (*trial, error) {
	s, err := startServer(p, line, o.dir)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	generator, err := load.Start(ctx)
	if err != nil {
		return nil, err
	}
	t := &trial{server: s, load: generator, streams: streams, options: o, figures: map[string]float64{}}
	path := p.path
	if sc.letter == "a" && p.idlePath != "" {
		path = p.idlePath
	}
	_, err = generator.Do(load.Command{Do: "configure", Config: load.Config{Port: s.port, Path: path, WebSocket: p.webSocket, TLS: p.tls}})
	if err == nil {
		err = sc.run(ctx, t)
	}
	select {
	case <-s.ended:
		err = fmt.Errorf("%s ended: %s", p.name, s.lastWords())
	default:
	}
	return t, errors.Join(err, generator.Stop())
}

// open opens streams and, where the server counts from the start, waits until all know the number.
func (t *trial) open(n int) error {
	want := int64(-1)
	if t.server.peer.counts == always && t.server.peer.only == "" {
		want = int64(t.opened + n)
	}
	r, err := t.load.Open(n, want, t.options.limit)
	if err != nil {
		return err
	}
	if !r.Done {
		return t.unfinished("only %d of %d streams open after %v: %s", r.Open, n, t.options.limit, r.Fault)
	}
	t.opened = r.Open
	if want < 0 {
		return nil
	}
	if r, err = t.load.Do(load.Command{Do: "know", For: t.options.limit}); err == nil && !r.Done {
		err = t.unfinished("only %d of %d streams know the count after %v", r.Knowing, r.Open, t.options.limit)
	}
	return err
}

func (t *trial) settle(d time.Duration) error {
	_, err := t.load.Do(load.Command{Do: "settle", For: d})
	return err
}

// emitAll sends events one after the other, each when all readers have the one before. It says which share of the
// deliveries that were due has come, and ends early when one does not come to all in time.
func (t *trial) emitAll(ctx context.Context, events, readers, size int) (share float64, err error) {
	r, err := t.load.Do(load.Command{Do: "reset", N: -1})
	if err != nil {
		return 0, err
	}
	for i := range events {
		answer := t.load.Begin(load.Command{Do: "await", N: int64((i + 1) * readers), For: publishLimit})
		emitErr := t.server.emit(ctx, t.next, size)
		if r, err = answer(); err != nil {
			return 0, err
		}
		if errors.Is(emitErr, errStatus) {
			return 0, emitErr
		}
		if emitErr == nil {
			t.next++
		}
		if !r.Done || emitErr != nil {
			break
		}
	}
	t.last = r
	return float64(r.Delivered) / float64(events*readers), nil
}
