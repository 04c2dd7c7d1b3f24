package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headcount/test/rig"
)

// 5,000 events a second go to a room of 100 readers that keep up. Nobody gets an io:gap, and all get each event once
// and in one order. It lasts 3 s, or LOAD_TIME.
func TestEmitRate(t *testing.T) {
	const readers, rate, emitters = 100, 5000, 16
	lasting := 3 * time.Second
	if s := os.Getenv("LOAD_TIME"); s != "" {
		var err error
		if lasting, err = time.ParseDuration(s); err != nil {
			t.Fatalf("read LOAD_TIME: %v", err)
		}
	}
	events := int(lasting.Seconds() * rate)
	server := rig.StartPlain(t, "-token", "secret")

	all := make([]*counter, readers)
	for i := range all {
		all[i] = &counter{had: make([]bool, events)}
		reader := &rig.Subscriber{URL: server.URL, Take: all[i].take}
		reader.Start(t, rig.Once)
	}
	rig.Wait(t, 5*time.Second, "all readers to be there", func() bool { return server.Count("lobby") == readers })

	// An emit is as late as the server makes the one before it on the same connection: the rate is a goal, not a fact.
	var next atomic.Int64
	var emitting sync.WaitGroup
	begin := time.Now()
	for range emitters {
		emitting.Go(func() {
			e, err := dialEmitter(server.Addr)
			if err != nil {
				t.Errorf("connect: %v", err)
				return
			}
			defer e.conn.Close()
			for n := int(next.Add(1)) - 1; n < events; n = int(next.Add(1)) - 1 {
				time.Sleep(time.Until(begin.Add(time.Duration(n) * time.Second / rate)))
				if err := e.emit(n); err != nil {
					t.Errorf("emit %d: %v", n, err)
					return
				}
			}
		})
	}
	emitting.Wait()
	took := time.Since(begin)
	rig.Wait(t, 10*time.Second, "all events everywhere", func() bool {
		return !slices.ContainsFunc(all, func(c *counter) bool { return c.seen.Load() < int64(events) })
	})
	for i, c := range all {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.gap != "":
			t.Errorf("reader %d was told of a gap: %s", i, c.gap)
		case c.twice:
			t.Errorf("reader %d got an event twice", i)
		case c.order != all[0].order:
			t.Errorf("reader %d saw another order than reader 0", i)
		}
	}
	t.Logf("%d events in %v (%.0f a second) to %d readers: %.0f deliveries a second, no gap, one order",
		events, took.Round(time.Millisecond), float64(events)/took.Seconds(), readers, float64(events*readers)/took.Seconds())
}

// counter checks the events called n, whose data are numbers, without keeping them.
type counter struct {
	seen atomic.Int64

	mu    sync.Mutex
	had   []bool
	twice bool
	order uint64 // a sum over the numbers that is another one if they come in another order
	gap   string
}

func (c *counter) take(_ context.Context, e *rig.Event) (keep bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.Name {
	case "n":
		i, err := strconv.Atoi(e.Data)
		if err != nil || c.had[i] {
			c.twice = true
			return false
		}
		c.had[i] = true
		c.order = c.order*1_000_003 + uint64(i)
		c.seen.Add(1)
	case "io:gap":
		c.gap = e.Data
	}
	return false
}

// emitter is one connection that emits one event after the other, with little work of its own.
type emitter struct {
	conn net.Conn
	in   *bufio.Reader
	addr string
}

func dialEmitter(addr string) (*emitter, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &emitter{conn, bufio.NewReader(conn), addr}, nil
}

func (e *emitter) emit(n int) error { return e.post(fmt.Sprintf(`{"event":"n","data":%d}`, n)) }

// post returns nil if the event was accepted, which means a 200.
func (e *emitter) post(body string) error {
	_, err := fmt.Fprintf(e.conn, "POST /emit HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer secret\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		e.addr, len(body), body)
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(e.in, nil)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return err
}
