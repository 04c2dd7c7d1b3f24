// Package load puts the real server under many streams at once. By default its tests take some ten seconds each; with
// the environment variable LOAD_TIME=60s the churn has its full length.
package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// Where time or numbers are asserted, the server is built without the race detector, also when the test is not.

// The first count comes with the connection. `curl -N` shows it within 100 ms, including its own start. The best of
// ten tries counts, because other programs run on the machine too.
func TestFirstCount(t *testing.T) {
	curl := rig.Need(t, "curl", "apt-get install curl")
	server := rig.StartPlain(t)
	var times []time.Duration
	for range 10 {
		begin := time.Now()
		cmd := exec.Command(curl, "-sN", server.URL+"/events")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var first rig.Event
		// The rest is read until curl is killed: it is not to stop at a full pipe.
		curls := &rig.Subscriber{Take: func(_ context.Context, e *rig.Event) bool {
			if first.Name == "" {
				first = *e
				times = append(times, time.Since(begin))
				cmd.Process.Kill()
			}
			return false
		}}
		curls.Consume(t.Context(), out)
		if first.Name != "user count" || first.Data != "1" {
			t.Errorf("got the event %q with data %q first, want user count and 1", first.Name, first.Data)
		}
		cmd.Wait()
		rig.Wait(t, 5*time.Second, "nobody left", func() bool { return server.Count("lobby") == 0 })
	}
	slices.Sort(times)
	t.Logf("start of curl to first count: fastest %v, median %v, slowest %v", times[0], times[len(times)/2], times[len(times)-1])
	if times[0] > 100*time.Millisecond {
		t.Errorf("fastest first count took %v, want at most 100ms", times[0])
	}
}

// Curls are started and killed at random. At rest everybody sees the number of those that are alive. The full length
// is 500 curls for LOAD_TIME=60s. Without it there are fewer for a shorter time, because each needs 20 to 50 ms of CPU
// to start.
func TestChurn(t *testing.T) {
	curl := rig.Need(t, "curl", "apt-get install curl")
	slots, lasting := 100, 10*time.Second
	if s := os.Getenv("LOAD_TIME"); s != "" {
		slots = 500
		var err error
		if lasting, err = time.ParseDuration(s); err != nil {
			t.Fatalf("read LOAD_TIME: %v", err)
		}
	}
	server := rig.Start(t)

	type process struct {
		cmd *exec.Cmd
		out *rig.Subscriber
	}
	alive := map[int]process{}
	startOne := func(slot int) {
		// Half of them give a client id, and each id comes back again and again.
		url := server.URL + "/events"
		if slot%2 == 1 {
			url += fmt.Sprintf("?id=churn-%06d", slot)
		}
		p := process{exec.Command(curl, "-sN", url), &rig.Subscriber{}}
		out, err := p.cmd.StdoutPipe()
		if err == nil {
			err = p.cmd.Start()
		}
		if err != nil {
			t.Fatalf("start curl: %v", err)
		}
		go p.out.Consume(t.Context(), out)
		alive[slot] = p
	}
	killOne := func(slot int) {
		alive[slot].cmd.Process.Kill()
		alive[slot].cmd.Wait()
		delete(alive, slot)
	}
	t.Cleanup(func() {
		for slot := range alive {
			killOne(slot)
		}
	})

	for slot := range slots {
		startOne(slot)
	}
	started, killed := slots, 0
	for end := time.Now().Add(lasting); time.Now().Before(end); {
		slot := rand.IntN(slots)
		if _, ok := alive[slot]; ok {
			killOne(slot)
			killed++
		} else {
			startOne(slot)
			started++
		}
		time.Sleep(rand.N(10 * time.Millisecond)) // the rhythm of the load; nothing is waited for here
	}

	want := len(alive)
	rig.Wait(t, 15*time.Second, fmt.Sprintf("/count %d", want), func() bool { return server.Count("lobby") == want })
	wrong := func() (n int) {
		for _, p := range alive {
			if p.out.Count() != want {
				n++
			}
		}
		return n
	}
	rig.Wait(t, 5*time.Second, fmt.Sprintf("last line %d of every survivor", want), func() bool { return wrong() == 0 })
	t.Logf("%v: %d curls started, %d killed, %d alive, /count %d, all survivors agree", lasting, started, killed, want, server.Count("lobby"))
}

// 2,000 streams are open at once. All see 2000 in the end, without getting each number on the way.
func TestFlood(t *testing.T) {
	const streams, most = 2000, 60
	server := rig.StartPlain(t)
	all := make([]*rig.Subscriber, streams)
	begin := time.Now()
	for i := range all {
		all[i] = rig.Subscribe(t, server.URL, "lobby")
	}

	rig.Wait(t, 20*time.Second, "2000 as the last count of every stream", func() bool {
		return !slices.ContainsFunc(all, func(s *rig.Subscriber) bool { return s.Count() != streams })
	})
	settled := time.Since(begin)
	values, sum := 0, 0
	for _, s := range all {
		counts := len(s.Got("user count"))
		values = max(values, counts)
		sum += counts
	}
	t.Logf("%d streams: all know the number after %v, at most %d and on average %.1f counts a stream",
		streams, settled, values, float64(sum)/streams)
	if values > most {
		t.Errorf("a stream got %d counts, want at most %d", values, most)
	}
}

// A reader that never reads delays nobody and holds nothing back. When it reads again, it gets the right count.
func TestStalledReader(t *testing.T) {
	const readers, rounds = 20, 200
	server := rig.StartPlain(t, "-token", "secret")
	healthy := make([]*rig.Subscriber, readers)
	for i := range healthy {
		healthy[i] = &rig.Subscriber{URL: server.URL, Take: func(_ context.Context, e *rig.Event) bool {
			if e.Name != "user count" {
				e.Data = "" // of which there is much
			}
			return true
		}}
		healthy[i].Start(t, rig.Once)
	}
	reach := func(n int) {
		t.Helper()
		rig.Wait(t, 5*time.Second, fmt.Sprintf("count %d everywhere", n), func() bool {
			return !slices.ContainsFunc(healthy, func(s *rig.Subscriber) bool { return s.Count() != n })
		})
	}
	reach(readers)
	without := emitAll(t, server, healthy, "without", rounds)

	stalled := request(t, server)
	reach(readers + 1)
	with := emitAll(t, server, healthy, "with", rounds)
	t.Logf("emit to last of %d readers: median %v, slowest %v; with one stalled: median %v, slowest %v",
		readers, without[rounds/2], without[rounds-1], with[rounds/2], with[rounds-1])
	if with[rounds-1] > time.Second {
		t.Errorf("slowest with a stalled reader %v, want at most 1s (without: %v)", with[rounds-1], without[rounds-1])
	}

	// The count goes on for the others, whether the stalled reader is still counted or was cut off.
	late := rig.Subscribe(t, server.URL, "lobby")
	rig.Wait(t, 5*time.Second, "the newcomer and all others agree", func() bool {
		n := server.Count("lobby")
		return n >= readers+1 && late.Count() == n && !slices.ContainsFunc(healthy, func(s *rig.Subscriber) bool { return s.Count() != n })
	})

	// Now it reads: to the end, if the server has given it up, or to the present.
	again := &rig.Subscriber{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := http.ReadResponse(bufio.NewReader(stalled), nil); err == nil {
			again.Consume(t.Context(), resp.Body)
		}
	}()
	rig.Wait(t, 20*time.Second, "the stalled reader to see the present or the end", func() bool {
		select {
		case <-ended:
			return server.Count("lobby") == readers+1
		default:
			return again.Count() == readers+2
		}
	})
}

// emitAll emits big events one after the other and returns, sorted, how long each took to reach the last reader.
func emitAll(t *testing.T, server *rig.Server, readers []*rig.Subscriber, name string, rounds int) []time.Duration {
	t.Helper()
	data := strings.Repeat("x", 32<<10) // 200 of them are more than any socket holds
	var times []time.Duration
	for i := range rounds {
		event := fmt.Sprintf("%s %d", name, i)
		begin := time.Now()
		emit(t, server, event, data)
		rig.Wait(t, 10*time.Second, event+" everywhere", func() bool {
			return !slices.ContainsFunc(readers, func(s *rig.Subscriber) bool { return s.Last(event).At.IsZero() })
		})
		last := begin
		for _, s := range readers {
			if at := s.Last(event).At; at.After(last) {
				last = at
			}
		}
		times = append(times, last.Sub(begin))
	}
	slices.Sort(times)
	return times
}

func emit(t *testing.T, server *rig.Server, event, data string) {
	t.Helper()
	body := fmt.Appendf(nil, `{"event":%q,"data":%q}`, event, data)
	req, err := http.NewRequest(http.MethodPost, server.URL+"/emit", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer secret")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("emit %s: got %s %s, want 200", event, resp.Status, answer)
	}
}

// request sends the request for a stream and reads nothing of the answer. The connection is closed when the test ends.
func request(t *testing.T, server *rig.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: %s\r\n\r\n", server.Addr); err != nil {
		t.Fatalf("send request: %v", err)
	}
	return conn
}
