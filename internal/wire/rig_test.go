//go:build linux

package wire_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headcount/internal/hub"
	"headcount/internal/tlsconn"
	"headcount/internal/tlsconn/tlstest"
	"headcount/internal/wire"
)

// testTimeout is how long a test waits for something that must happen soon. It ends in a failure and is not a pause.
const testTimeout = 15 * time.Second

// rig is a real http.Server on a loopback address. One of the writers writes its streams. Its handler does what
// headcount's handler does.
type rig struct {
	t         *testing.T
	hub       *hub.Hub
	heartbeat time.Duration
	sndbuf    int // of accepted sockets, 0 = the default of the system
	push      bool
	hijack    bool // the portable writer gets the hijacked connection
	epoll     *wire.Epoll
	server    *http.Server
	addr      string
	client    *tls.Config // nil if plain
	cancel    context.CancelFunc

	mu    sync.Mutex
	taken []*taken
	came  chan struct{} // closed and replaced when a stream was taken
}

// taken is a stream on the server's side.
type taken struct {
	end    func(retry time.Duration)
	ping   func()
	ends   atomic.Int32
	reason chan wire.Reason
}

// Done is called by the writer.
func (s *taken) Conn() *wire.Conn { return new(wire.Conn) }

func (s *taken) Done(r wire.Reason) {
	if s.ends.Add(1) == 1 {
		s.reason <- r
	}
}

// allWriters are the names of all writers.
func allWriters() []string {
	return []string{"stream", "epoll", "uring", "stream+tls", "conn+tls", "epoll+tls", "uring+tls"}
}

// writers runs the test with all writers, and then checks that they left nothing behind.
func writers(t *testing.T, test func(t *testing.T, start func(...func(*rig)) *rig)) {
	for _, name := range allWriters() {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t, func(t *testing.T) {
				test(t, func(with ...func(*rig)) *rig { return startRig(t, name, with...) })
			})
		})
	}
}

// writersAtOnce is writers for a test that mostly waits. All writers run at the same time.
func writersAtOnce(t *testing.T, test func(t *testing.T, start func(...func(*rig)) *rig)) {
	leavesNothing(t, func(t *testing.T) {
		for _, name := range allWriters() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, func(with ...func(*rig)) *rig { return startRig(t, name, with...) })
			})
		}
	})
}

// leavesNothing runs the test, and then checks that no file is open and no goroutine runs that was not there before.
func leavesNothing(t *testing.T, test func(t *testing.T)) {
	startPoller(t)
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	t.Run("run", test)
	eventually(t, func() error {
		if n := openFiles(t); n > files {
			return fmt.Errorf("%d files are open, %d before the test", n, files)
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			all := make([]byte, 64<<10)
			return fmt.Errorf("%d goroutines, %d before the test:\n%s", n, goroutines, all[:runtime.Stack(all, true)])
		}
		return nil
	})
}

func startRig(t *testing.T, name string, with ...func(*rig)) *rig {
	t.Helper()
	writer, secure := strings.CutSuffix(name, "+tls")
	r := &rig{t: t, hub: hub.New(hub.Options{}), heartbeat: time.Hour, came: make(chan struct{}), hijack: writer != "stream"}
	for _, f := range with {
		f(r)
	}
	if writer == "epoll" || writer == "uring" {
		var err error
		if r.epoll, err = wire.NewEpoll(r.heartbeat, writer == "uring"); err != nil {
			t.Fatal(err)
		}
		if writer == "uring" && !r.epoll.Uring() {
			_ = r.epoll.Close()
			t.Skip("the kernel does not let this process use io_uring")
		}
	}
	var lc net.ListenConfig
	wire.Tune(&lc)
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	if secure {
		var config *tls.Config
		config, r.client = tlstest.Configs(t)
		l = tlsconn.NewListener(l, config)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.server = &http.Server{
		BaseContext: func(net.Listener) context.Context { return ctx },
		Handler:     http.HandlerFunc(r.events),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if r.sndbuf > 0 {
				if secure {
					c, _ = tlsconn.Below(c.(*tls.Conn))
				}
				if err := c.(*net.TCPConn).SetWriteBuffer(r.sndbuf); err != nil {
					t.Error(err)
				}
			}
			return ctx
		},
		ErrorLog: log.New(io.Discard, "", 0), // of handshakes that a client broke off
	}
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(l) }()
	t.Cleanup(func() {
		r.cut()
		<-served
		r.mu.Lock()
		defer r.mu.Unlock()
		for i, s := range r.taken {
			if n := s.ends.Load(); n > 1 {
				t.Errorf("the owner of stream %d was told its end %d times, want once", i, n)
			}
		}
	})
	return r
}

// cut ends the server and every stream.
func (r *rig) cut() {
	_ = r.server.Close()
	r.cancel()
	if r.epoll != nil {
		_ = r.epoll.Close()
	}
}

// tlsLoop reports whether a loop makes TLS records.
func (r *rig) tlsLoop() bool { return r.epoll != nil && r.client != nil }

func (r *rig) events(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	room := r.hub.Open(q.Get("room"))
	who := hub.JoinOptions{ClientID: q.Get("id"), Cursor: q.Get("cursor"), Retry: 1500 * time.Millisecond, Heartbeat: r.heartbeat}
	s := &taken{reason: make(chan wire.Reason, 1)}
	w.Header().Set("Content-Type", "text/event-stream")
	if !r.hijack {
		out := wire.NewStream(room.Join(who), r.heartbeat, r.push)
		s.end, s.ping = out.End, out.Ping
		r.took(s)
		s.Done(out.Run(req.Context(), w))
		r.hub.Close(room)
		return
	}
	who.Chunked = req.ProtoAtLeast(1, 1)
	who.Prefix = []byte("HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
	if who.Chunked {
		who.Prefix = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		r.t.Error(err)
		return
	}
	sub := room.Join(who)
	if r.epoll == nil {
		out := wire.NewStream(sub, r.heartbeat, r.push)
		s.end, s.ping = out.End, out.Ping
		r.took(s)
		w, gone, stop := wire.NewConnWriter(conn)
		defer context.AfterFunc(req.Context(), func() { _ = conn.Close() })()
		s.Done(out.Run(gone, w))
		stop()
		r.hub.Close(room)
		return
	}
	socket, err := wire.Detach(conn, sub)
	if err != nil {
		var not *wire.NotDetached
		if !errors.As(err, &not) || not.Obstacle != wire.ReaderGone {
			r.t.Error(err)
		}
		_ = conn.Close()
		r.hub.Close(room)
		return
	}
	if socket.TLS() != (r.client != nil) {
		r.t.Errorf("the socket says TLS: %v", socket.TLS())
	}
	c := r.epoll.Take(socket, sub, r.push, closing{s, r.hub, room})
	s.end, s.ping = c.End, c.Ping
	r.took(s)
}

// closing is a stream that closes its room when it has ended.
type closing struct {
	*taken
	hub  *hub.Hub
	room *hub.Room
}

func (c closing) Done(why wire.Reason) {
	c.hub.Close(c.room)
	c.taken.Done(why)
}

func (r *rig) took(s *taken) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = append(r.taken, s)
	close(r.came)
	r.came = make(chan struct{})
}

// stream returns the i-th stream that the server took, once it is there.
func (r *rig) stream(i int) *taken {
	r.t.Helper()
	deadline := time.After(testTimeout)
	for {
		r.mu.Lock()
		came := r.came
		if i < len(r.taken) {
			defer r.mu.Unlock()
			return r.taken[i]
		}
		r.mu.Unlock()
		select {
		case <-came:
		case <-deadline:
			r.t.Fatalf("the server took no stream %d", i)
		}
	}
}

// wantEnd waits for the end of a stream.
func (s *taken) wantEnd(t *testing.T, want wire.Reason) {
	t.Helper()
	select {
	case got := <-s.reason:
		if got != want {
			t.Errorf("stream ended as %s, want %s", got, want)
		}
	case <-time.After(testTimeout):
		t.Fatalf("stream has not ended, want %s", want) // a test may have a thousand of them
	}
}

// emit emits the numbers from..to as events called "n", each padded to size bytes.
func (r *rig) emit(room string, from, to, size int) {
	for n := from; n <= to; n++ {
		text := strconv.Itoa(n)
		r.hub.Emit(room, "n", []byte(text+strings.Repeat(" ", max(0, size-len(text)))))
	}
}

// count sets the state "user count" of a room that is open.
func (r *rig) count(room string, n int) {
	r.hub.Lookup(room).Update("user count", func() []byte { return []byte(strconv.Itoa(n)) })
}

// eventually waits until check returns no error.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(testTimeout)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// startPoller makes the Go runtime open the files that it keeps for all connections. It opens them with the first one.
func startPoller(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 1)]) }
