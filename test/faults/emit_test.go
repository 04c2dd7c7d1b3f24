// Package faults breaks connections while events flow, and checks that no event is lost.
package faults

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headcount/test/rig"
)

const token = "faults"

// reader is a subscriber that returns with its cursor.
type reader struct {
	*rig.Subscriber
	seen atomic.Int64
	got  []int    // the numbers of the events called n, in the order they came; read them when it has stopped
	gaps []string // data of the io:gap events
}

func newReader(t *testing.T, url string) *reader {
	r := &reader{}
	r.Subscriber = &rig.Subscriber{URL: url, Room: "faults", Take: r.take}
	r.Start(t, rig.Every(0))
	return r
}

func (r *reader) take(_ context.Context, e *rig.Event) (keep bool) {
	switch e.Name {
	case "n":
		i, err := strconv.Atoi(e.Data)
		if err != nil {
			i = -1
		}
		r.got = append(r.got, i)
		r.seen.Add(1)
	case "io:gap":
		r.gaps = append(r.gaps, e.Data)
	}
	return false
}

// Ten thousand events at 2,000 a second go to 500 subscribers, each of which is cut off about once a second. In the
// end each has all of them, once and in one order.
func TestEmitWhileConnectionsBreak(t *testing.T) {
	const events, rate, readers = 10_000, 2000, 500
	// As many events are kept as a reader can miss in the time of its way back.
	s := rig.StartPlain(t, "-token", token, "-history", fmt.Sprint(events), "-max-streams", "0")

	all := make([]*reader, readers)
	for i := range all {
		all[i] = newReader(t, s.URL)
	}
	rig.Wait(t, 30*time.Second, "all readers to be there", func() bool { return s.Count("faults") == readers })

	done := make(chan struct{})
	var cutting sync.WaitGroup
	cuts := 0
	cutting.Go(func() {
		// By the clock, or a busy machine would cut less often than is said.
		begin := time.Now()
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(time.Until(begin.Add(time.Duration(n) * time.Second / readers))):
				if all[rand.IntN(readers)].Cut(rand.IntN(2) == 0) {
					cuts++
				}
			}
		}
	})

	begin := time.Now()
	var next atomic.Int64
	var emitting sync.WaitGroup
	for range 8 {
		emitting.Go(func() {
			for i := int(next.Add(1)) - 1; i < events; i = int(next.Add(1)) - 1 {
				time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / rate)))
				if err := emit(s.URL, i); err != nil {
					t.Errorf("emit %d: %v", i, err)
				}
			}
		})
	}
	emitting.Wait()
	took := time.Since(begin)
	close(done)
	cutting.Wait()

	rig.Wait(t, time.Minute, "all events at every reader", func() bool {
		return !slices.ContainsFunc(all, func(r *reader) bool { return r.seen.Load() < events })
	})
	for i, r := range all {
		r.Stop()
		if len(r.gaps) > 0 {
			t.Errorf("reader %d was told of gaps: %v", i, r.gaps)
		}
		if !slices.Equal(r.got, all[0].got) {
			t.Fatalf("reader %d saw another order than reader 0", i)
		}
	}
	sorted := slices.Sorted(slices.Values(all[0].got))
	for i, n := range sorted {
		if n != i {
			t.Fatalf("event %d is lost or came twice", i)
		}
	}
	t.Logf("%d events in %v (%.0f a second) to %d readers, which were cut off %d times (%.2f a second each)",
		events, took.Round(time.Millisecond), events/took.Seconds(), readers, cuts, float64(cuts)/readers/took.Seconds())
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}

// emit returns nil if the event was accepted, which means a 200.
func emit(url string, i int) error {
	req, err := http.NewRequest(http.MethodPost, url+"/emit", strings.NewReader(fmt.Sprintf(`{"event":"n","data":%d,"room":"faults"}`, i)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}
