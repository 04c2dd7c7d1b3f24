package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"headcount/bench/load"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == load.Argument {
		main() // the test is its own generator
		return
	}
	os.Exit(m.Run())
}

// One process holds its streams. Each second, 200 of them (20 over TLS) are replaced, and 10 events are emitted. Every
// event reaches each stream that stays, once and in order. Nothing is refused or dropped, and in the end all streams
// have the right count. By default there are 1,000 streams for 3 s. The goal is LOAD_STREAMS=19000 LOAD_TIME=60s with
// 200 a second. Then the 99th percentile of an event's lateness is at most 250 ms, and 400 ms over TLS. LOAD_PEERS names
// other servers of the benchmark to hold the same load, for the ratios, because two cores may be too slow for any.
func TestHeldLoad(t *testing.T) {
	t.Run("plain", func(t *testing.T) { holdLoad(t, headcountPeer(), 250*time.Millisecond) })
	t.Run("TLS", func(t *testing.T) {
		p := headcountPeer()
		p.tls = true
		holdLoad(t, p, 400*time.Millisecond)
	})
	for _, p := range peers() {
		if slices.Contains(strings.Split(os.Getenv("LOAD_PEERS"), ","), p.name) {
			t.Run(p.name, func(t *testing.T) { holdLoad(t, p, time.Minute) })
		}
	}
}

func holdLoad(t *testing.T, p peer, goal time.Duration) {
	streams, churn, lasting, limit := 1000, 200, 3*time.Second, 5*time.Second // on a machine that does other things
	if p.tls {
		churn = 20 // because a handshake takes some ten milliseconds under the race detector
	}
	if text := os.Getenv("LOAD_TIME"); text != "" {
		var err error
		if lasting, err = time.ParseDuration(text); err != nil {
			t.Fatalf("read LOAD_TIME: %v", err)
		}
		churn, limit = 200, goal
	}
	if text := os.Getenv("LOAD_STREAMS"); text != "" {
		var err error
		if streams, err = strconv.Atoi(text); err != nil {
			t.Fatalf("read LOAD_STREAMS: %v", err)
		}
	}
	const rate = 10

	// A stream that comes may be there before the server has noticed that another one has gone.
	p.env = append(p.env, "HEADCOUNT_MAX_STREAMS="+strconv.Itoa(streams+2*churn))
	dir := t.TempDir()
	if err := writeCertificate(dir); err != nil {
		t.Fatal(err)
	}
	line, err := p.prepare(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := startServer(p, line, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	generator, err := load.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer generator.Stop()
	do := func(c load.Command) load.Reply {
		t.Helper()
		r, err := generator.Do(c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	do(load.Command{Do: "configure", Config: load.Config{Port: s.port, Path: p.path, TLS: p.tls}})
	if r := do(load.Command{Do: "open", N: int64(streams), Window: load.Window, Want: int64(streams), For: 2 * time.Minute}); !r.Done {
		t.Fatalf("%d of %d streams open: %s", r.Open, streams, r.Fault)
	}
	if p.counts == always {
		do(load.Command{Do: "know", For: time.Minute})
	}
	do(load.Command{Do: "reset", N: 0})

	cpu, err := s.cpuTime()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	churned := generator.Begin(load.Command{Do: "churn", PerSecond: churn, Window: load.Window, For: lasting, Want: int64(streams)})
	emitted, err := emitEvery(t.Context(), s, time.Second/rate, lasting)
	if err != nil {
		t.Error(err)
	}
	r, err := churned()
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin).Seconds()
	cpuAfter, err := s.cpuTime()
	if err != nil {
		t.Fatal(err)
	}
	size, err := s.memory()
	if err != nil {
		t.Fatal(err)
	}
	know := load.Reply{Done: true, Open: streams}
	if p.counts == always {
		know = do(load.Command{Do: "know", For: 30 * time.Second})
	}
	fates := do(load.Command{Do: "fates", N: emitted}).Fates
	t.Logf("%d streams for %v: %d went and as many came, %d events emitted, %d deliveries, p50 %v, p99 %v, max %v; server: %.2f processors, %.1f MiB",
		streams, lasting, r.Replaced, emitted, r.Delivered, r.P50.Round(time.Millisecond), r.P99.Round(time.Millisecond), r.Max.Round(time.Millisecond),
		(cpuAfter-cpu).Seconds()/took, float64(size)/(1<<20))
	if !know.Done {
		t.Errorf("in the end %d of %d streams know the count", know.Knowing, know.Open)
	}
	if know.Open != streams || know.Failed > 0 || know.Dropped > 0 {
		t.Errorf("%d streams open, want %d; %d could not be opened, %d were dropped: %s", know.Open, streams, know.Failed, know.Dropped, know.Fault)
	}
	if fates.Whole != fates.Streams {
		t.Errorf("%d of %d streams got each event once and in order: %+v", fates.Whole, fates.Streams, fates)
	}
	if due := int64(lasting.Seconds() * rate * 9 / 10); emitted < due {
		t.Errorf("%d events emitted, want %d or more", emitted, due)
	}
	if due := int64(lasting.Seconds() * float64(churn) * 9 / 10); r.Replaced < due {
		t.Errorf("%d streams replaced, want %d or more", r.Replaced, due)
	}
	if r.P99 > limit {
		t.Errorf("the 99th percentile of how late events came is %v, want at most %v", r.P99, limit)
	}
}

// emitEvery emits numbered events, whether or not the ones before have come anywhere, and returns how many.
func emitEvery(ctx context.Context, s *server, every, lasting time.Duration) (int64, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	n := int64(0)
	for end := time.Now().Add(lasting); time.Now().Before(end); n++ {
		<-tick.C
		if err := s.emit(ctx, n, eventSize); err != nil {
			return n, fmt.Errorf("emit %d: %w", n, err)
		}
	}
	return n, nil
}
