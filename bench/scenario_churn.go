package main

import (
	"context"
	"math"
	"time"

	"headcount/bench/load"
)

func churnScenario() scenario {
	return scenario{
		letter: "f", title: "Churn: a tenth of the streams is replaced each second", counting: true,
		streams: []int{10_000}, quick: []int{300},
		columns: []column{
			{key: "mean", title: "mean error of the count", unit: "", ratio: true},
			{key: "largest", title: "largest error", unit: ""},
			{key: "replaced", title: "replaced", unit: "/s"},
			{key: "cpu", title: "server CPU", unit: "s/s", ratio: true},
			{key: "settle", title: "true for all after the end", unit: "s"},
		},
		run: churn,
	}
}

func churn(ctx context.Context, t *trial) error {
	if err := t.open(t.streams); err != nil {
		return err
	}
	if err := t.server.startCounting(ctx); err != nil {
		return err
	}
	cpu, err := t.server.cpuTime()
	if err != nil {
		return err
	}
	began := time.Now()
	r, err := t.load.Do(load.Command{Do: "churn", PerSecond: t.streams / 10, Window: load.Window, For: t.options.churn,
		Want: int64(t.streams)})
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	cpuAfter, err := t.server.cpuTime()
	if err != nil {
		return err
	}
	var sum, largest float64
	for _, e := range r.Errors {
		sum += math.Abs(float64(e))
		largest = max(largest, math.Abs(float64(e)))
	}
	if len(r.Errors) > 0 {
		t.set("mean", sum/float64(len(r.Errors)))
		t.set("largest", largest)
	}
	pace := float64(r.Replaced) / t.options.churn.Seconds()
	t.set("replaced", pace)
	t.set("cpu", (cpuAfter-cpu).Seconds()/took)

	quiet := load.Now()
	r, err = t.load.Do(load.Command{Do: "know", For: 10 * time.Second})
	if err != nil {
		return err
	}
	if due := float64(t.streams) / 10; pace < 0.9*due || !r.Done {
		// An error of the count says nothing where hundreds are always waiting to be let in.
		delete(t.figures, "mean")
		delete(t.figures, "largest")
		return t.unfinished("replaced %.0f of %.0f a second; 10 s after the end %d of %d know the number", pace, due,
			r.Knowing, r.Open)
	}
	t.set("settle", max(0, float64(r.KnewAt-quiet)/1e9))
	return nil
}
