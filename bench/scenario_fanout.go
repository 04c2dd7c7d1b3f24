package main

import (
	"context"
	"time"
)

// eventSize is the length of the data of a measured event in bytes.
const eventSize = 200

func fanoutScenario() scenario {
	return scenario{
		letter: "b", title: "Fan-out of one event to all",
		streams: []int{1_000, 10_000, 19_000}, quick: []int{500, 2_000},
		columns: []column{
			{key: "cpu", title: "server CPU per delivery", unit: "µs", ratio: true},
			{key: "rate", title: "deliveries", unit: "/s"},
			{key: "p50", title: "p50", unit: "ms"},
			{key: "p99", title: "p99", unit: "ms", ratio: true},
			{key: "max", title: "max", unit: "ms"},
			{key: "memory", title: "process memory per stream, 3 s later", unit: "KB"},
		},
		run: fanout,
	}
}

// fanout sends event after event, each when all have the one before, and divides the server's CPU time by deliveries.
func fanout(ctx context.Context, t *trial) error {
	memory, err := t.firstMemory()
	if err != nil {
		return err
	}
	if err := t.open(t.streams - t.opened); err != nil {
		return err
	}
	if err := t.settle(time.Second); err != nil {
		return err
	}
	if _, err := t.emitAll(ctx, 3, t.streams, eventSize); err != nil { // warm up
		return err
	}
	events := max(20, t.options.deliveries/t.streams)
	cpu, err := t.server.cpuTime()
	if err != nil {
		return err
	}
	own, err := cpuTime(t.load.PID())
	if err != nil {
		return err
	}
	began := time.Now()
	share, err := t.emitAll(ctx, events, t.streams, eventSize)
	if err != nil {
		return err
	}
	took := time.Since(began)
	cpuAfter, err := t.server.cpuTime()
	if err != nil {
		return err
	}
	ownAfter, err := cpuTime(t.load.PID())
	if err != nil {
		return err
	}
	if share < 1 {
		return t.unfinished("%.1f %% delivered, then nothing for %v", 100*share, publishLimit)
	}
	delivered := float64(t.last.Delivered)
	t.set("cpu", float64((cpuAfter-cpu).Nanoseconds())/1000/delivered)
	t.set("generator", float64((ownAfter-own).Nanoseconds())/1000/delivered)
	t.set("rate", delivered/took.Seconds())
	t.set("p50", milliseconds(t.last.P50))
	t.set("p99", milliseconds(t.last.P99))
	t.set("max", milliseconds(t.last.Max))
	if err := t.settle(3 * time.Second); err != nil {
		return err
	}
	memoryAfter, err := t.server.memory()
	if err != nil {
		return err
	}
	t.set("memory", float64(memoryAfter-memory)/1024/float64(t.streams))
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
