package cluster

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/test/rig"
)

// reader is a client that always reconnects, to the node that is set and with its cursor. It does so like a browser,
// but without the long delays.
type reader struct {
	room, id string
	polite   bool   // it waits as long as it is told to before it comes back, and answers what wants an answer
	proxied  bool   // a proxy is in between, which says so
	answers  string // the node that it answers, "" = the one of its stream
	polls    bool
	from     string // the cursor that it begins with

	sub *rig.Subscriber
	at  string // the node of its stream

	mu     sync.Mutex
	node   string // URL; "" = a random one of nodes
	nodes  []string
	cut    func()      // ends the connection that is open
	events []rig.Event // all but counts and io:ping
	counts []int
	shown  []time.Time // when they came

	stop    func()
	stopped chan struct{}
}

// read opens a stream and keeps it until the test ends.
func read(t *testing.T, node, room, id string) *reader {
	t.Helper()
	r := newReader(t, []string{node}, room, id)
	rig.Wait(t, 10*time.Second, "first count of "+id+" at "+node, func() bool { return r.count() > 0 })
	return r
}

func newReader(t *testing.T, nodes []string, room, id string) *reader {
	return newReaderFrom(t, nodes, room, id, "")
}

func newReaderFrom(t *testing.T, nodes []string, room, id, cursor string) *reader {
	return start(t, &reader{room: room, id: id, nodes: nodes, from: cursor})
}

func start(t *testing.T, r *reader) *reader {
	r.run(t, func(ctx context.Context) {
		for ctx.Err() == nil {
			wait := r.once(ctx)
			if !r.polite {
				wait = 10*time.Millisecond + rand.N(50*time.Millisecond)
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	})
	return r
}

// run reads the room until the reader is stopped or the test ends.
func (r *reader) run(t *testing.T, follow func(ctx context.Context)) {
	r.sub = r.subscriber()
	ctx, cancel := context.WithCancel(context.Background())
	r.stopped = make(chan struct{})
	r.stop = func() {
		cancel()
		<-r.stopped
	}
	t.Cleanup(r.stop)
	go func() {
		defer close(r.stopped)
		follow(ctx)
	}()
}

// once reads one stream or one poll to its end, and returns the reconnection time that it got.
func (r *reader) once(ctx context.Context) (retry time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	r.cut = cancel
	r.at = r.node
	if r.at == "" {
		r.at = r.nodes[rand.IntN(len(r.nodes))]
	}
	r.mu.Unlock()
	r.sub.Read(ctx)
	return time.Second
}

// subscriber returns the SSE client of the reader.
func (r *reader) subscriber() *rig.Subscriber {
	s := &rig.Subscriber{URL: "http://node", Room: r.room, ID: r.id, Poll: r.polls, Take: r.take, Header: http.Header{}}
	s.SetCursor(r.from)
	if r.proxied {
		s.Header.Set("X-Forwarded-For", "192.0.2.1")
	}
	s.Prepare = func(req *http.Request) {
		req.URL.Host, req.Host = strings.TrimPrefix(r.at, "http://"), ""
		if r.polls {
			rig.CursorInQuery(req)
		}
	}
	if !r.polls {
		s.Silence = 10 * time.Second
		s.Transport = &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 5 * time.Second}
	}
	return s
}

// answer renews the lease of the client.
func (r *reader) answer(ctx context.Context) {
	node := cmp.Or(r.answers, r.at)
	body := fmt.Sprintf(`{"room":%q,"ids":[%q]}`, r.room, r.id)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, node+"/alive", strings.NewReader(body))
	if err != nil {
		return
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
	}
}

func (r *reader) take(ctx context.Context, e *rig.Event) (keep bool) {
	if r.polite && (e.Name == "io:hello" || e.Name == "io:ping") {
		r.answer(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Name {
	case "io:ping", "io:hello":
	case "user count":
		n, _ := strconv.Atoi(e.Data)
		r.counts = append(r.counts, n)
		r.shown = append(r.shown, e.At)
	default:
		r.events = append(r.events, *e)
	}
	return false
}

// hop moves the reader to another node now.
func (r *reader) hop(node string) {
	r.mu.Lock()
	r.node = node
	cut := r.cut
	r.mu.Unlock()
	if cut != nil {
		cut()
	}
}

// strand lets the reader stay on its stream, and not reconnect when that ends.
func (r *reader) strand() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.node = "http://127.0.0.1:1"
}

// count returns the last count, or 0 before the first.
func (r *reader) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.counts) == 0 {
		return 0
	}
	return r.counts[len(r.counts)-1]
}

// seen returns all counts so far.
func (r *reader) seen() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]int(nil), r.counts...)
}

// forget drops all counts but the last.
func (r *reader) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts = append([]int(nil), r.counts[len(r.counts)-1])
	r.shown = append([]time.Time(nil), r.shown[len(r.shown)-1])
}

// opens returns how many streams or polls were answered.
func (r *reader) opens() (n int) {
	for _, a := range r.sub.Attempts() {
		if !a.Opened.IsZero() {
			n++
		}
	}
	return n
}

func (r *reader) cursor() string { return r.sub.Cursor() }

// time returns when the event with that index came.
func (r *reader) time(i int) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[i].At
}

// data returns the data of all events so far. An io:gap is included by its name.
func (r *reader) data() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, e := range r.events {
		if e.Name == "io:gap" {
			list = append(list, e.Name)
		} else {
			list = append(list, e.Data)
		}
	}
	return list
}

// await waits for the count.
func (r *reader) await(t *testing.T, count int) {
	t.Helper()
	end := time.Now().Add(10 * time.Second)
	for r.count() != count {
		if time.Now().After(end) {
			t.Fatalf("count of %s: got %v, want %d", r.id, r.seen(), count)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
