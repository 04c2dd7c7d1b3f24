package main

import (
	"fmt"
	"slices"
	"strings"
)

// A goal is a figure of headcount's that is to stay at or below a limit.
type goal struct {
	text    string
	letter  string
	streams int
	key     string
	peer    string // headcount's row, by its name
	against string // the server whose figure in the same run it is divided by, empty: none
	limit   float64
}

func goals() []goal {
	all := []goal{
		{"process memory per idle stream, KB", "a", 10_000, "memory", "headcount", "", 1.5},
		{"CPU per connect", "a", 10_000, "connect", "headcount-rooms", "nchan", 1.5},
		{"process memory per idle TLS stream, KB", "a", 10_000, "memory", "headcount-tls", "", 1.1},
		{"process memory per TLS stream after a fan-out, KB", "b", 10_000, "memory", "headcount-tls", "", 1.1},
		{"CPU per connect over TLS", "a", 10_000, "connect", "headcount-rooms-tls", "nchan-tls", 1.2},
		{"CPU per delivery over TLS", "b", 10_000, "cpu", "headcount-tls", "headcount", 1.5},
		{"all know after the last of 10,000 joins, ms", "c", 10_000, "after", "headcount", "", 300},
		{"events per stream in that storm", "c", 10_000, "events", "headcount", "", 60},
		{"CPU-seconds of that storm", "c", 10_000, "cpu", "headcount", "", 2},
		{"the rest know after 10,000 leaves, ms", "d", 10_000, "after", "headcount", "", 500},
		{"CPU-seconds of that storm", "d", 10_000, "cpu", "headcount", "", 0.5},
		{"p99 with 1,000 stalled, to that without", "e", 10_000, "factor", "headcount", "", 1.2},
		{"memory growth with 1,000 stalled, MB", "e", 10_000, "memory", "headcount", "", 2},
		{"stalled readers that lost events in silence", "e", 10_000, "silent", "headcount", "", 0},
		{"p99 of a fan-out", "b", 10_000, "p99", "headcount", "nchan", 1},
	}
	for _, against := range []struct {
		peer  string
		limit float64
	}{{"floor", 1.15}, {"nchan", 0.7}, {"r3labs", 0.7}, {"socket.io", 0.5}, {"centrifuge", 0.5}, {"go-sse", 0.5}} {
		for _, streams := range []int{1_000, 10_000, 19_000} {
			all = append(all, goal{"CPU per delivery", "b", streams, "cpu", "headcount", against.peer, against.limit})
		}
	}
	return all
}

// value is the median over all runs, and whether there is one.
func (g goal) value(results []result) (float64, bool) {
	var values []float64
	figure := func(run int, peer string) (float64, bool) {
		at := slices.IndexFunc(results, func(x result) bool {
			return x.Run == run && x.Scenario == g.letter && x.Streams == g.streams && x.Peer == peer
		})
		if at < 0 {
			return 0, false
		}
		v, ok := results[at].Figures[g.key]
		return v, ok
	}
	for run := 1; run <= len(results); run++ {
		v, ok := figure(run, g.peer)
		if ok && g.against != "" {
			var base float64
			base, ok = figure(run, g.against)
			v /= base
		}
		if ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return 0, false
	}
	return median(values), true
}

// goalTable compares what was measured with the goals; those for which nothing was measured are left out.
func goalTable(results []result) string {
	var b strings.Builder
	for _, g := range goals() {
		v, ok := g.value(results)
		if !ok {
			continue
		}
		kept := "yes"
		if v > g.limit {
			kept = "**no**"
		}
		text := g.text
		if g.letter == "b" {
			text += fmt.Sprintf(", %s streams", thousands(int64(g.streams)))
		}
		if g.against != "" {
			text += ", × " + g.against + "'s"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", text, digits(v), digits(g.limit), kept)
	}
	if b.Len() == 0 {
		return ""
	}
	return "| goal | measured | at most | kept |\n|---|---:|---:|---|\n" + b.String()
}
