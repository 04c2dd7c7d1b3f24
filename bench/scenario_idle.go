package main

import (
	"context"
	"time"
)

func idleScenario() scenario {
	return scenario{
		letter: "a", title: "Memory per idle stream",
		streams: []int{10_000}, quick: []int{1_000},
		columns: []column{
			{key: "memory", title: "process memory per stream", unit: "KB", ratio: true},
			{key: "connect", title: "server CPU per connect", unit: "µs", ratio: true},
		},
		run: idle,
	}
}

// idle opens streams on which nothing is sent, and looks at the server's memory before and, after a pause, again.
func idle(_ context.Context, t *trial) error {
	memory, err := t.firstMemory()
	if err != nil {
		return err
	}
	cpu, err := t.server.cpuTime()
	if err != nil {
		return err
	}
	if err := t.open(t.streams); err != nil {
		return err
	}
	cpuAfter, err := t.server.cpuTime()
	if err != nil {
		return err
	}
	if err := t.settle(t.options.settle); err != nil {
		return err
	}
	memoryAfter, err := t.server.memory()
	if err != nil {
		return err
	}
	t.set("memory", float64(memoryAfter-memory)/1024/float64(t.streams))
	t.set("connect", float64((cpuAfter-cpu).Microseconds())/float64(t.streams))
	return nil
}

// firstMemory opens ten streams and returns the server's memory, with what every server needs once for the first ones.
func (t *trial) firstMemory() (int64, error) {
	if err := t.open(10); err != nil {
		return 0, err
	}
	if err := t.settle(time.Second); err != nil {
		return 0, err
	}
	return t.server.memory()
}
