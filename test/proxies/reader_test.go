package proxies

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/test/rig"
)

// reader is a client with an id, as the browser's, but one that can be killed in every
// way. It asks, reads, answers pings and comes again until it is stopped or killed.
type reader struct {
	t      testing.TB
	via    *Running
	room   string
	id     string
	poll   bool
	from   net.IP // its own address; nil = the machine's
	client *http.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	dead     bool // makes no more connections
	conns    []net.Conn
	frozen   chan struct{} // closed when it thaws; nil while it is not frozen
	ends     []ending
	attempts int
	began    time.Time // the last of them; the zero time if it has ended
	asked    bool      // the last io:hello wanted answers
	cursor   string
	events   []event
}

// ending is the end of an attempt.
type ending struct {
	began, ended time.Time
	why          error
}

type event struct {
	name, data string
	at         time.Time
}

const (
	silence = 25 * time.Second // 2.5 heartbeats
	again   = 200 * time.Millisecond
)

// read starts a reader; it is stopped, without a goodbye, when the test ends.
func read(t testing.TB, via *Running, room, id string, poll bool) *reader {
	r := &reader{t: t, via: via, room: room, id: id, poll: poll}
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *reader) start() {
	transport := r.via.Transport()
	transport.DialContext = r.dial
	r.client = &http.Client{Transport: transport}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			why := r.attempt(ctx) // whatever it was: again
			r.mu.Lock()
			r.ends = append(r.ends, ending{r.began, time.Now(), why})
			r.began = time.Time{}
			dead := r.dead
			r.mu.Unlock()
			if dead {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(again):
			}
		}
	}()
}

func (r *reader) stop() {
	r.cancel()
	r.thaw()
	<-r.done
	r.client.CloseIdleConnections()
}

func (r *reader) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	r.mu.Lock()
	dead := r.dead
	r.mu.Unlock()
	if dead {
		return nil, net.ErrClosed
	}
	r.freezes()
	var d net.Dialer
	if r.from != nil {
		d.LocalAddr = &net.TCPAddr{IP: r.from}
	}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.conns = append(r.conns, conn)
	r.mu.Unlock()
	return &mortal{conn, r}, nil
}

// mortal is a connection whose owner may be frozen: it then neither reads nor writes, and the kernel does not say so.
type mortal struct {
	net.Conn
	owner *reader
}

func (c *mortal) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.owner.freezes()
	return n, err
}

func (c *mortal) Write(p []byte) (int, error) {
	c.owner.freezes()
	return c.Conn.Write(p)
}

// freeze stops the reader in the middle of whatever it does, as a stopped process is.
func (r *reader) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frozen == nil {
		r.frozen = make(chan struct{})
	}
}

func (r *reader) thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frozen != nil {
		close(r.frozen)
		r.frozen = nil
	}
}

// freezes waits while the reader is frozen.
func (r *reader) freezes() {
	r.mu.Lock()
	frozen := r.frozen
	r.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

// die ends the reader for the server: it makes no more connections, and end is what
// becomes of those that it has.
func (r *reader) die(end func(*net.TCPConn)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = true
	for _, conn := range r.conns {
		end(conn.(*net.TCPConn))
	}
}

// request makes a request as a browser would.
func (r *reader) request(ctx context.Context, method, path string, query url.Values, body io.Reader) *http.Request {
	q, err := http.NewRequestWithContext(ctx, method, r.via.URL+path+"?"+query.Encode(), body)
	if err != nil {
		panic(err) // all of it is ours
	}
	q.Header.Set("User-Agent", "Mozilla/5.0 (test)")
	q.Header.Set("Connection", "keep-alive")
	return q
}

// attempt is one stream, or one poll, to its end.
func (r *reader) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	r.attempts++
	r.began = time.Now()
	query := url.Values{"room": {r.room}, "id": {r.id}}
	if r.cursor != "" {
		query.Set("lastEventId", r.cursor)
	}
	if r.poll {
		query.Set("poll", "1")
	}
	query.Set("try", rand.Text()) // an address of its own
	r.mu.Unlock()

	watchdog := time.AfterFunc(silence, func() {
		r.freezes()
		cancel()
	})
	defer watchdog.Stop()
	answer, err := r.client.Do(r.request(ctx, http.MethodGet, "/events", query, nil))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		return fmt.Errorf("status %s, type %s", answer.Status, answer.Header.Get("Content-Type"))
	}
	return r.take(ctx, answer.Body, func() { watchdog.Reset(silence) })
}

func (r *reader) take(ctx context.Context, body io.Reader, heard func()) error {
	var e event
	var id string
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		heard()
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "event":
			e.name = value
		case "data":
			e.data += value
		case "id":
			id = value
		case "":
			e.at = time.Now()
			if r.dispatch(e, id) {
				go r.post(ctx, "/alive") // the stream is not to wait for it
			}
			e, id = event{}, ""
		}
	}
	return lines.Err()
}

// dispatch keeps an event and says whether it wants an answer.
func (r *reader) dispatch(e event, cursor string) (answer bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cursor != "" {
		r.cursor = cursor
	}
	switch {
	case e.name == "":
		return false
	case e.name == "io:hello":
		var hello struct{ Ping int }
		if err := json.Unmarshal([]byte(e.data), &hello); err != nil {
			r.t.Errorf("io:hello %s: %v", e.data, err)
		}
		r.asked = hello.Ping > 0
	case e.name != "io:ping":
		r.events = append(r.events, e)
		return false
	}
	return r.asked && !r.poll
}

// post sends POST /alive or /leave.
func (r *reader) post(ctx context.Context, path string) {
	body, _ := json.Marshal(map[string]any{"room": r.room, "ids": []string{r.id}}) // of strings: cannot go wrong
	answer, err := r.client.Do(r.request(ctx, http.MethodPost, path, nil, bytes.NewReader(body)))
	if err == nil {
		answer.Body.Close()
	}
}

// leave stops and says goodbye, in this order and not while a request is on its way:
// nothing of it is to come behind the goodbye.
func (r *reader) leave() {
	r.t.Helper()
	rig.Wait(r.t, silence, "the client of room "+r.room+" to rest", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return !r.began.IsZero() && time.Since(r.began) > 2*again
	})
	r.stop()
	r.post(context.Background(), "/leave")
	r.client.CloseIdleConnections()
}

// got returns the events of a name so far.
func (r *reader) got(name string) []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.events), func(e event) bool { return e.name != name })
}

// expect waits until the last event of the name has this data.
func (r *reader) expect(deadline time.Duration, name, data string) {
	r.t.Helper()
	rig.Wait(r.t, deadline, fmt.Sprintf("%s %q at the client of room %q, which has %v", name, data, r.room, r.got(name)), func() bool {
		all := r.got(name)
		return len(all) > 0 && all[len(all)-1].data == data
	})
}

func (r *reader) tries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attempts
}

func (r *reader) wantsAnswers() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

const token = "a-token-of-the-test"

// emit emits an event at the server itself, not through the proxy.
func emit(t testing.TB, server *rig.Server, room, name, data string) {
	t.Helper()
	form := url.Values{"room": {room}, "event": {name}, "data": {data}}
	q, err := http.NewRequest(http.MethodPost, server.URL+"/emit", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	q.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatalf("emit %s: %v", name, err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("emit %s: status %s", name, answer.Status)
	}
}
