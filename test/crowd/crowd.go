// Package crowd is many well-behaved readers of one room, and one client that emits to them. Its tests do something to
// the server meanwhile. The crowd reports whether any of its readers noticed. Each gets each event once and in order,
// and how late an event was is measured. At rest the count is right.
package crowd

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headcount/test/rig"
)

// Token is what the server must be started with: -token.
const Token = "crowd"

// Crowd is readers of one room, and what is emitted to them.
type Crowd struct {
	Room string

	t       testing.TB
	server  *rig.Server
	readers []*reader
	client  *http.Client

	accepted atomic.Int64 // events that the server has accepted: their numbers are 0 to this less one
	pad      atomic.Pointer[string]
	stop     chan struct{}
	emitting sync.WaitGroup

	mu   sync.Mutex
	late []time.Duration // since the last Lateness: from emit to reader, of each event at each reader
}

// Kind is how a reader reads.
type Kind int

const (
	Direct  Kind = iota // a stream; every other reader has a client id
	Polling             // one poll after the other
	Proxied             // a stream with a client id that came through a proxy: it counts while it answers
)

// Open lets n readers subscribe directly and waits until all know that they are n. They leave when the test ends.
func Open(t testing.TB, server *rig.Server, room string, n int) *Crowd {
	t.Helper()
	c := &Crowd{Room: room, t: t, server: server, stop: make(chan struct{}), client: &http.Client{Timeout: 20 * time.Second}}
	c.Pad("")
	t.Cleanup(func() {
		close(c.stop)
		c.emitting.Wait()
	})
	c.Join(t, Direct, n)
	return c
}

// Join lets n more readers subscribe, before anything is emitted, and waits until all know how many they are.
func (c *Crowd) Join(t testing.TB, kind Kind, n int) {
	t.Helper()
	for range n {
		id := ""
		if i := len(c.readers); kind == Proxied || kind == Direct && i%2 == 1 {
			id = fmt.Sprintf("crowd-%06d", i)
		}
		c.readers = append(c.readers, c.newReader(kind, id))
	}
	c.AwaitCount(t, 30*time.Second, len(c.readers))
}

// Emit begins to emit perSecond events a second, one after the other, until the test ends.
func (c *Crowd) Emit(perSecond int) {
	c.emitting.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for {
			select {
			case <-c.stop:
				return
			case <-tick.C:
				if err := c.emit(); err != nil {
					c.t.Errorf("emit %d: %v", c.accepted.Load(), err)
					return
				}
			}
		}
	})
}

// Pad makes the events from now on larger by that text.
func (c *Crowd) Pad(text string) { c.pad.Store(&text) }

// numbered is the data of an event.
type numbered struct {
	N   int64  `json:"n"`
	At  int64  `json:"at"` // ns
	Pad string `json:"pad,omitempty"`
}

func (c *Crowd) emit() error {
	data := numbered{N: c.accepted.Load(), At: time.Now().UnixNano(), Pad: *c.pad.Load()}
	body, err := json.Marshal(map[string]any{"event": "n", "room": c.Room, "data": data})
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, c.server.URL+"/emit", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, answer)
	}
	c.accepted.Add(1)
	return err
}

// alive answers a ping.
func (c *Crowd) alive(id string) error {
	body, err := json.Marshal(map[string]any{"room": c.Room, "ids": []string{id}})
	if err != nil {
		return err
	}
	resp, err := c.client.Post(c.server.URL+"/alive", "text/plain", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("got %s, want 204", resp.Status)
	}
	return nil
}

// closing reports whether the test is ending, when nothing is a fault any more.
func (c *Crowd) closing() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// AwaitCount waits until every reader's last user count is n, and so is /count.
func (c *Crowd) AwaitCount(t testing.TB, deadline time.Duration, n int) {
	t.Helper()
	rig.Wait(t, deadline, fmt.Sprintf("count %d at all %d readers of %q and at /count", n, len(c.readers), c.Room), func() bool {
		return !slices.ContainsFunc(c.readers, func(r *reader) bool { return r.Count() != n }) && c.server.Count(c.Room) == n
	})
}

// AwaitEvents waits until every reader has every event that was accepted before the call. It fails the test if a
// reader got an event twice, in another order, or not at all, if it got an io:gap, or if it lost its stream without
// having been cut.
func (c *Crowd) AwaitEvents(t testing.TB, deadline time.Duration) {
	t.Helper()
	want := c.accepted.Load()
	rig.Wait(t, deadline, fmt.Sprintf("%d events at all readers of %q", want, c.Room), func() bool {
		return !slices.ContainsFunc(c.readers, func(r *reader) bool { return r.fault() == "" && r.next.Load() < want })
	})
	for i, r := range c.readers {
		if fault := r.fault(); fault != "" {
			t.Fatalf("reader %d: %s", i, fault)
		}
	}
}

// Accepted is how many events the server has accepted.
func (c *Crowd) Accepted() int { return int(c.accepted.Load()) }

// Size is how many readers there are.
func (c *Crowd) Size() int { return len(c.readers) }

// Cut breaks the stream of reader i in the middle of whatever it is doing. The reader returns with its cursor.
func (c *Crowd) Cut(i int, abruptly bool) { c.readers[i].Cut(abruptly) }

// Lateness returns the number of deliveries since its last call, and the given quantile of the time from emit to
// reader.
func (c *Crowd) Lateness(quantile float64) (deliveries int, late time.Duration) {
	c.mu.Lock()
	all := c.late
	c.late = nil
	c.mu.Unlock()
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return len(all), all[int(float64(len(all)-1)*quantile)]
}

func (c *Crowd) delivered(late time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = append(c.late, late)
}
