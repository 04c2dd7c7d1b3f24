package main

import (
	"context"
	"time"

	"headcount/bench/load"
)

// stayers are the streams that stay while all others leave.
const stayers = 1_000

func stormColumns(after string) []column {
	return []column{
		{key: "after", title: after, unit: "ms"},
		{key: "total", title: "from the first", unit: "s", ratio: true},
		{key: "cpu", title: "server CPU", unit: "s", ratio: true},
		{key: "events", title: "events per stream", unit: ""},
		{key: "bytes", title: "bytes sent", unit: "MB"},
	}
}

func joinScenario() scenario {
	return scenario{
		letter: "c", title: "Join storm: all come at once and each must know the final number", counting: true,
		streams: []int{10_000}, quick: []int{300},
		columns: stormColumns("all know, after the last join"), run: joinStorm,
	}
}

func leaveScenario() scenario {
	return scenario{
		letter: "d", title: "Leave storm: all but 1,000 go at once and the rest must know", counting: true,
		streams: []int{10_000}, quick: []int{300},
		columns: stormColumns("the rest know, after the last leave"), run: leaveStorm,
	}
}

func joinStorm(ctx context.Context, t *trial) error {
	if err := t.server.startCounting(ctx); err != nil {
		return err
	}
	return t.storm(t.streams, func() (load.Reply, error) {
		return t.load.Open(t.streams, int64(t.streams), t.options.limit)
	})
}

func leaveStorm(ctx context.Context, t *trial) error {
	if err := t.open(t.streams + stayers); err != nil {
		return err
	}
	if err := t.server.startCounting(ctx); err != nil {
		return err
	}
	if err := t.settle(time.Second); err != nil {
		return err
	}
	return t.storm(stayers, func() (load.Reply, error) {
		return t.load.Do(load.Command{Do: "close", N: int64(t.streams), Want: stayers})
	})
}

// storm sets off a storm and waits until all the readers that remain know how many they are.
func (t *trial) storm(readers int, setOff func() (load.Reply, error)) error {
	if _, err := t.load.Do(load.Command{Do: "reset", N: -1}); err != nil {
		return err
	}
	cpu, err := t.server.cpuTime()
	if err != nil {
		return err
	}
	began := load.Now()
	r, err := setOff()
	if err != nil {
		return err
	}
	over := r.At // of leaving
	if r.OpenAt > began {
		over = r.OpenAt
	}
	if r.Done {
		r, err = t.load.Do(load.Command{Do: "know", For: t.options.limit - time.Duration(r.At-began)})
		if err != nil {
			return err
		}
	}
	cpuAfter, err := t.server.cpuTime()
	if err != nil {
		return err
	}
	used, megabytes := (cpuAfter - cpu).Seconds(), float64(r.Bytes)/1e6
	if !r.Done {
		return t.unfinished("not done after %v: %d open, %d of them know; %.1f CPU-s, %.0f MB", t.options.limit, r.Open,
			r.Knowing, used, megabytes)
	}
	t.set("after", max(0, float64(r.KnewAt-over)/1e6))
	t.set("total", float64(r.KnewAt-began)/1e9)
	t.set("cpu", used)
	t.set("events", float64(r.Events)/float64(readers))
	t.set("bytes", megabytes)
	return nil
}
