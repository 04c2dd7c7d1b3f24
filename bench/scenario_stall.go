package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headcount/bench/load"
)

func stallScenario() scenario {
	return scenario{
		letter: "e", title: "One reader in ten stops reading",
		streams: []int{10_000}, quick: []int{1_000},
		columns: []column{
			{key: "before", title: "p99 of the others before", unit: "ms"},
			{key: "p99", title: "p99 with the stalled", unit: "ms", ratio: true},
			{key: "factor", title: "factor", unit: ""},
			{key: "control", title: "memory growth before", unit: "MB"},
			{key: "memory", title: "memory growth with the stalled", unit: "MB", ratio: true},
			{key: "whole", title: "stalled, later: had all", unit: ""},
			{key: "told", title: "were told of a gap", unit: ""},
			{key: "closed", title: "were closed", unit: ""},
			{key: "silent", title: "lost events in silence", unit: ""},
		},
		run: stall,
	}
}

const (
	smallEvents  = 30
	largeEvents  = 120 // together more than a stalled reader's buffers hold, in the kernel and in any of the servers
	largeSize    = 4 << 10
	smallReceive = 4 << 10
)

// stall sends what fills the buffers of a reader that stalls, and measures the latency. A tenth of the streams then
// stop reading, and it does the same again, so that both memory growths are for the same events. Then it has the
// stalled read on: what do they learn of what they missed?
func stall(ctx context.Context, t *trial) error {
	stalled := t.streams / 10
	healthy := t.streams - stalled
	if err := t.open(healthy); err != nil {
		return err
	}
	r, err := t.load.Do(load.Command{Do: "open", N: int64(stalled), Window: load.Window, ReceiveBuffer: smallReceive,
		Want: -1, For: t.options.limit})
	if err != nil || !r.Done {
		return errors.Join(err, t.unfinished("only %d of %d streams open", r.Open, t.streams))
	}
	// Until then, servers give back what the opening of streams has taken.
	if err := t.settle(3 * time.Second); err != nil {
		return err
	}
	if _, err := t.load.Do(load.Command{Do: "reset", N: 0}); err != nil {
		return err
	}
	if _, err := t.emitAll(ctx, 3, t.streams, eventSize); err != nil { // warm up
		return err
	}
	if share, err := t.fill(ctx, t.streams, "control"); err != nil || share < 1 {
		return errors.Join(err, t.unfinished("%.1f %% delivered before any stalled", 100*share))
	}
	t.set("before", milliseconds(t.last.P99))

	if _, err := t.load.Do(load.Command{Do: "stall"}); err != nil {
		return err
	}
	share, err := t.fill(ctx, healthy, "memory")
	if err != nil {
		return err
	}
	blocked := share < 1
	if !blocked {
		t.set("p99", milliseconds(t.last.P99))
		t.set("factor", t.figures["p99"]/t.figures["before"])
	} else {
		t.remark = fmt.Sprintf("the others got %.1f %%, then nothing for %v", 100*share, publishLimit)
	}

	if _, err := t.load.Do(load.Command{Do: "resume"}); err != nil {
		return err
	}
	if err := t.settle(t.options.settle); err != nil {
		return err
	}
	if !blocked {
		if _, err := t.emitAll(ctx, 3, healthy, eventSize); err != nil {
			return err
		}
		if err := t.settle(time.Second); err != nil {
			return err
		}
	}
	return t.fates()
}

// fill sends the large events and then the small ones, and takes down under key how much memory grows meanwhile. It says
// which share of the deliveries that were due has come.
func (t *trial) fill(ctx context.Context, readers int, key string) (share float64, err error) {
	before, err := t.server.memory()
	if err != nil {
		return 0, err
	}
	if share, err = t.emitAll(ctx, largeEvents, readers, largeSize); err == nil && share == 1 {
		share, err = t.emitAll(ctx, smallEvents, readers, eventSize)
	}
	if err != nil {
		return 0, err
	}
	after, err := t.server.memory()
	t.set(key, float64(after-before)/1e6)
	return share, err
}

// fates takes down what the stalled streams know of all the events that the server has accepted.
func (t *trial) fates() error {
	r, err := t.load.Do(load.Command{Do: "fates", N: t.next})
	if err != nil {
		return err
	}
	f := r.Fates
	t.set("whole", float64(f.Whole))
	t.set("told", float64(f.Told))
	t.set("closed", float64(f.Closed))
	t.set("silent", float64(f.Silent))
	if f.Duplicates > 0 || f.Wrong > 0 {
		t.remark += fmt.Sprintf(" %d duplicates, %d wrong gaps", f.Duplicates, f.Wrong)
	}
	return nil
}
