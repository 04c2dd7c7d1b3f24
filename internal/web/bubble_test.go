package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/sse"
	"headcount/internal/sse/ssetest"
	"headcount/internal/web"
)

// bubble is a whole http.Server with a [web.Server] in it, reached over net.Pipe, in
// a testing/synctest bubble: time stands still but while everybody waits.
type bubble struct {
	t      *testing.T
	app    *web.Server
	server *http.Server
	client *http.Client
	dial   func(context.Context) (net.Conn, error)
}

// inBubble runs test with a server of its own, and expects that nothing is left.
func inBubble(t *testing.T, opt web.Options, test func(*testing.T, *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opt.Writer = web.Portable // the kernel's sockets are outside of the bubble
		app, err := web.New(opt)
		if err != nil {
			t.Fatal(err)
		}
		l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		b := &bubble{
			t: t, app: app,
			dial:   func(ctx context.Context) (net.Conn, error) { return l.dial(ctx, "", "") },
			server: &http.Server{Handler: app, ConnContext: app.ConnContext, Protocols: protocols(true, true)},
			client: &http.Client{Transport: &http.Transport{DialContext: l.dial, DisableKeepAlives: true}},
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { app.Run(ctx) })
		running.Go(func() { _ = b.server.Serve(l) })
		defer func() { // also after a Fatal
			_ = b.server.Close()
			synctest.Wait()
			if n := app.Streams(); n != 0 {
				t.Errorf("%d streams are left, want 0", n)
			}
			stop()
			running.Wait()
			if err := app.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, b)
	})
}

// overHTTP2 has the client speak HTTP/2 from now on.
func (b *bubble) overHTTP2() {
	way := b.client.Transport.(*http.Transport)
	b.client.Transport = &http.Transport{DialContext: way.DialContext, Protocols: protocols(false, true)}
	b.t.Cleanup(b.client.CloseIdleConnections)
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

// arrived is a connection at the address that a URL without port stands for.
type arrived struct{ net.Conn }

func (arrived) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "127.0.0.1:1" }

// answer is a response with its body.
type answer struct {
	*http.Response
	body string
}

// do sends one request; header is pairs of names and values.
func (b *bubble) do(method, path, body string, header ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://headcount.test"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp, string(text)}
}

// wantError checks status and form of an error, and returns its sentence.
func (a answer) wantError(t *testing.T, status int) string {
	t.Helper()
	var body map[string]string
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || len(body) != 1 || body["error"] == "" {
		t.Errorf(`got body %q, want {"error":"…"}`, a.body)
	}
	if a.StatusCode != status || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s (%s), want %d application/json", a.StatusCode, a.Header.Get("Content-Type"), a.body, status)
	}
	return body["error"]
}

// wantUsers checks what GET /count says of the room.
func (b *bubble) wantUsers(room string, want int) {
	b.t.Helper()
	synctest.Wait()
	a := b.do("GET", "/count?room="+room, "")
	if want := fmt.Sprintf(`{"room":%q,"users":%d}`, room, want); strings.TrimSpace(a.body) != want {
		b.t.Errorf("got %s, want %s", a.body, want)
	}
}

// stream is an open GET /events that reads by itself.
type stream struct {
	t      *testing.T
	resp   *http.Response
	cancel func()
	done   chan struct{}

	mu       sync.Mutex
	blocks   []timed     // at the end also what stood behind the last block
	comments []time.Time // of those that came by themselves
	err      error
}

// Read reads the stream's body, and notes the comments.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.resp.Body.Read(p)
	if string(p[:n]) == sse.Comment {
		s.mu.Lock()
		s.comments = append(s.comments, time.Now())
		s.mu.Unlock()
	}
	return n, err
}

// timed is a block and when it came.
type timed struct {
	ssetest.Block
	at time.Time
}

// open subscribes.
func (b *bubble) open(query string, header ...string) *stream {
	b.t.Helper()
	return b.openAt("/events?"+query, header...)
}

// openAt opens a stream at a path.
func (b *bubble) openAt(path string, header ...string) *stream {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://headcount.test"+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	req.Host = req.Header.Get("Host") // "" = of the URL
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("got %s %q", resp.Status, resp.Header)
	}
	s := &stream{t: b.t, resp: resp, done: make(chan struct{})}
	s.cancel = func() { cancel(); _ = resp.Body.Close(); <-s.done; synctest.Wait() }
	b.t.Cleanup(s.cancel)
	go func() {
		defer close(s.done)
		in := ssetest.NewReader(s)
		for {
			block, err := in.Block()
			s.mu.Lock()
			if err == nil || block.Retry != "" {
				s.blocks = append(s.blocks, timed{block, time.Now()})
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

// got returns the blocks so far.
func (s *stream) got() []timed {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]timed(nil), s.blocks...)
}

// values returns the data of the events called name so far.
func (s *stream) values(name string) []string {
	var all []string
	for _, b := range s.got() {
		if b.Dispatched && b.Name == name {
			all = append(all, b.Data)
		}
	}
	return all
}

// wantCounts checks every user count so far.
func (s *stream) wantCounts(want ...string) {
	s.t.Helper()
	if got := s.values("user count"); strings.Join(got, " ") != strings.Join(want, " ") {
		s.t.Errorf("got user counts %v, want %v", got, want)
	}
}

// ended returns how the stream ended: io.EOF is a clean end, nil none.
func (s *stream) ended() error {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
