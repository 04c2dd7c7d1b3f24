// Package bubble helps tests of HTTP handlers. It runs a whole http.Server over net.Pipe in a testing/synctest bubble.
// Time in a bubble moves only while all goroutines wait. [Get] calls a handler without a server and without a bubble.
package bubble

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/sse"
	"headcount/internal/sse/ssetest"
)

// Bubble is a server and its client.
type Bubble struct {
	T      testing.TB
	Server *http.Server
	Client *http.Client
	Dial   func(context.Context) (net.Conn, error)
}

// Start serves until the end of the test. Call it in a bubble.
func Start(t testing.TB, handler http.Handler) *Bubble {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	b := &Bubble{
		T:      t,
		Dial:   func(ctx context.Context) (net.Conn, error) { return l.dial(ctx, "", "") },
		Server: &http.Server{Handler: handler, Protocols: protocols(true, true)},
		Client: &http.Client{Transport: &http.Transport{DialContext: l.dial, DisableKeepAlives: true}},
	}
	var running sync.WaitGroup
	running.Go(func() { _ = b.Server.Serve(l) })
	t.Cleanup(func() {
		_ = b.Server.Close()
		running.Wait()
		synctest.Wait()
	})
	return b
}

// OverHTTP2 makes the client use HTTP/2 from now on.
func (b *Bubble) OverHTTP2() {
	way := b.Client.Transport.(*http.Transport)
	b.Client.Transport = &http.Transport{DialContext: way.DialContext, Protocols: protocols(false, true)}
	b.T.Cleanup(b.Client.CloseIdleConnections)
}

func protocols(one, two bool) *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(one)
	p.SetUnencryptedHTTP2(two)
	return &p
}

// pipes is a listener and its dialer.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- arrived{server}:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

// arrived is a connection that has the default address of a URL without a port.
type arrived struct{ net.Conn }

func (arrived) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "127.0.0.1:1" }

// Get calls a handler without a server. header is pairs of names and values.
func Get(h http.Handler, url string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Answer is a response with its body.
type Answer struct {
	*http.Response
	Body string
}

// Do sends one request. header is pairs of names and values.
func (b *Bubble) Do(method, path, body string, header ...string) Answer {
	b.T.Helper()
	req, err := http.NewRequestWithContext(b.T.Context(), method, "http://headcount.test"+path, strings.NewReader(body))
	if err != nil {
		b.T.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.Client.Do(req)
	if err != nil {
		b.T.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.T.Fatal(err)
	}
	return Answer{resp, string(text)}
}

// WantError checks the status and the form of an error, and returns its message.
func (a Answer) WantError(t *testing.T, status int) string {
	t.Helper()
	var body map[string]string
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil || len(body) != 1 || body["error"] == "" {
		t.Errorf(`got body %q, want {"error":"…"}`, a.Body)
	}
	if a.StatusCode != status || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s (%s), want %d application/json", a.StatusCode, a.Header.Get("Content-Type"), a.Body, status)
	}
	return body["error"]
}

// WantUsers checks the response of GET /count for the room.
func (b *Bubble) WantUsers(room string, want int) {
	b.T.Helper()
	synctest.Wait()
	a := b.Do("GET", "/count?room="+room, "")
	if want := fmt.Sprintf(`{"room":%q,"users":%d}`, room, want); strings.TrimSpace(a.Body) != want {
		b.T.Errorf("got %s, want %s", a.Body, want)
	}
}

// Stream is an open GET /events, which a goroutine reads.
type Stream struct {
	t      testing.TB
	Resp   *http.Response
	Cancel func()
	done   chan struct{}

	mu       sync.Mutex
	blocks   []Timed     // at the end also the text after the last block
	comments []time.Time // of comments that arrived in a write of their own
	err      error
}

// Read reads the body of the stream and records the times of comments.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.Resp.Body.Read(p)
	if string(p[:n]) == sse.Comment {
		s.mu.Lock()
		s.comments = append(s.comments, time.Now())
		s.mu.Unlock()
	}
	return n, err
}

// Comments returns the arrival times of comments that came in a write of their own.
func (s *Stream) Comments() []time.Time {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.comments...)
}

// Timed is a block and the time at which it arrived.
type Timed struct {
	ssetest.Block
	At time.Time
}

// Open subscribes.
func (b *Bubble) Open(query string, header ...string) *Stream {
	b.T.Helper()
	return b.OpenAt("/events?"+query, header...)
}

// OpenAt opens a stream at a path.
func (b *Bubble) OpenAt(path string, header ...string) *Stream {
	b.T.Helper()
	ctx, cancel := context.WithCancel(b.T.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://headcount.test"+path, nil)
	if err != nil {
		b.T.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	req.Host = req.Header.Get("Host") // "" = of the URL
	resp, err := b.Client.Do(req)
	if err != nil {
		b.T.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		b.T.Fatalf("got %s %q", resp.Status, resp.Header)
	}
	s := &Stream{t: b.T, Resp: resp, done: make(chan struct{})}
	s.Cancel = func() { cancel(); _ = resp.Body.Close(); <-s.done; synctest.Wait() }
	b.T.Cleanup(s.Cancel)
	go func() {
		defer close(s.done)
		in := ssetest.NewReader(s)
		for {
			block, err := in.Block()
			s.mu.Lock()
			if err == nil || block.Retry != "" {
				s.blocks = append(s.blocks, Timed{block, time.Now()})
			}
			s.err = err
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	synctest.Wait()
	return s
}

// Got returns the blocks so far.
func (s *Stream) Got() []Timed {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Timed(nil), s.blocks...)
}

// Values returns the data of the events called name so far.
func (s *Stream) Values(name string) []string {
	var all []string
	for _, b := range s.Got() {
		if b.Dispatched && b.Name == name {
			all = append(all, b.Data)
		}
	}
	return all
}

// WantCounts checks every user count so far.
func (s *Stream) WantCounts(want ...string) {
	s.t.Helper()
	if got := s.Values("user count"); strings.Join(got, " ") != strings.Join(want, " ") {
		s.t.Errorf("got user counts %v, want %v", got, want)
	}
}

// Ended returns how the stream ended. io.EOF is a clean end, and nil means that it has not ended.
func (s *Stream) Ended() error {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
