package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"headcount/internal/hub"
	"headcount/internal/sse"
	"headcount/internal/wire"
)

// process is what one process owns.
type process struct {
	hub   *hub.Hub
	epoll *wire.Epoll
	ended owner
}

func newProcess(t *testing.T, heartbeat time.Duration) *process {
	t.Helper()
	e, err := wire.NewEpoll(heartbeat, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return &process{hub.New(hub.Options{}), e, make(owner, 100)}
}

// reason returns why the next stream has ended.
func (p *process) reason(t *testing.T) wire.Reason {
	t.Helper()
	select {
	case why := <-p.ended:
		return why
	case <-time.After(testTimeout):
		t.Fatal("no stream has ended")
		return ""
	}
}

// next returns the process that continues with everything that p has. p ends.
func (p *process) next(t *testing.T, heartbeat time.Duration) *process {
	t.Helper()
	n := newProcess(t, heartbeat)
	n.epoll.Freeze()
	p.epoll.Freeze()
	n.hub.Import(p.hub.Export())
	for c := range p.epoll.Streams() {
		fd, err := unix.Dup(c.FD())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.epoll.Resume(fd, n.hub.Open("a"), c.Export(), n.ended); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.epoll.Close(); err != nil {
		t.Fatal(err)
	}
	n.epoll.Thaw()
	return n
}

// read returns the data of the events up to the one called "end".
func read(t *testing.T, c net.Conn) string {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	in := httputil.NewChunkedReader(c)
	var got bytes.Buffer
	for buffer := make([]byte, 64<<10); !bytes.Contains(got.Bytes(), []byte("event: end\ndata: 0\n\n")); {
		n, err := in.Read(buffer)
		got.Write(buffer[:n])
		if err != nil {
			t.Fatalf("%v, behind %d bytes, %.20q … %q", err, got.Len(), got.String(), got.Bytes()[max(0, got.Len()-100):])
		}
	}
	var data strings.Builder
	for line := range strings.SplitSeq(got.String(), "\n") {
		if d, ok := strings.CutPrefix(line, "data: "); ok {
			fmt.Fprint(&data, d[:min(len(d), 3)], " ")
		}
	}
	return data.String()
}

// narrow makes a socket take less than one event of big bytes.
func narrow(t *testing.T, client *net.TCPConn, fd int) {
	t.Helper()
	if err := errors.Join(client.SetReadBuffer(16<<10), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10)); err != nil {
		t.Fatal(err)
	}
}

const big = 128 << 10

// Streams go from process to process, plain ones and those over TLS. Some are idle, some have a full socket in the
// middle of an event, and one should end. No client misses a byte, or gets one twice.
func TestFreezeAndResume(t *testing.T) {
	p := newProcess(t, time.Hour)
	room := p.hub.Open("a")
	var clients []net.Conn
	for i := range 20 {
		sub := room.Join(hub.JoinOptions{Chunked: true})
		var client net.Conn
		var socket wire.Socket
		var below *net.TCPConn
		if i%2 == 0 {
			below, socket = pair(t)
			client = below
		} else {
			server, c := tlsPair(t, nil, nil)
			var err error
			if socket, err = wire.Detach(server, sub); err != nil {
				t.Fatal(err)
			}
			client, below = c, c.NetConn().(*net.TCPConn)
		}
		if i < 6 {
			narrow(t, below, socket.FD())
		}
		p.epoll.Take(socket, sub, false, p.ended)
		clients = append(clients, client)
	}
	p.hub.Emit("a", "n", []byte(strings.Repeat("1", big)))
	p.epoll.Freeze()
	p.hub.Emit("a", "n", []byte("2"))
	p.epoll.Thaw()
	p.hub.Emit("a", "n", []byte("3"))
	p = p.next(t, time.Hour)
	p.hub.Emit("a", "n", []byte("4"))
	p = p.next(t, time.Hour)
	p.hub.Emit("a", "end", []byte("0"))
	for i, c := range clients {
		if got := read(t, c); got != "111 2 3 4 0 " {
			t.Fatalf("reader %d got %s, want 111 2 3 4 0", i, got)
		}
	}
	for _, c := range clients[:10] {
		_ = c.Close()
	}
	for range 10 {
		if why := p.reason(t); why != wire.Gone {
			t.Errorf("it ended because %s, want %s", why, wire.Gone)
		}
	}
}

// What was requested for a stream, or is due, stays so in the next process.
func TestResumeKeepsWhatIsDue(t *testing.T) {
	const heartbeat = 8 * time.Second
	p := newProcess(t, heartbeat)
	room := p.hub.Open("a")
	ending, fd := pair(t)
	narrow(t, ending, fd.FD())
	p.hub.Emit("a", "n", []byte(strings.Repeat("1", big)))
	end := p.epoll.Take(fd, room.Join(hub.JoinOptions{Cursor: "before"}), false, p.ended)
	pushed, fd := pair(t)
	p.epoll.Take(fd, room.Join(hub.JoinOptions{}), true, p.ended)
	end.End(time.Second)
	p = p.next(t, heartbeat)
	_ = ending.SetDeadline(time.Now().Add(testTimeout))
	if got, err := io.ReadAll(ending); err != nil || !strings.HasSuffix(string(got), "retry: 1000\n") {
		t.Errorf("got %d bytes, %v, want a farewell", len(got), err)
	}
	if why := p.reason(t); why != wire.Ended {
		t.Errorf("it ended because %s, want %s", why, wire.Ended)
	}
	comment(t, pushed) // long before a heartbeat is due
}

// comment reads up to the next comment.
func comment(t *testing.T, c *net.TCPConn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(6 * time.Second))
	for got := []byte{}; !bytes.Contains(got, []byte(sse.Comment)); {
		b := make([]byte, 1024)
		n, err := c.Read(b)
		if err != nil {
			t.Fatalf("got %q, %v, want a comment", got, err)
		}
		got = append(got, b[:n]...)
	}
}

// A stream that was silent in one process does not wait for a whole heartbeat in the next.
func TestResumeAfterSilence(t *testing.T) {
	p := newProcess(t, 8*time.Second)
	client, fd := pair(t)
	if _, err := p.epoll.Resume(fd.FD(), p.hub.Open("a"), wire.ConnState{Silent: 7 * time.Second}, p.ended); err != nil {
		t.Fatal(err)
	}
	comment(t, client)
}

// A process that has handed over writes nothing more, even if its streams have news.
func TestCloseFrozen(t *testing.T) {
	p := newProcess(t, time.Hour)
	room := p.hub.Open("a")
	client, fd := pair(t)
	p.epoll.Take(fd, room.Join(hub.JoinOptions{Retry: time.Second}), false, p.ended)
	_ = client.SetDeadline(time.Now().Add(testTimeout))
	opening := make([]byte, len("retry: 1000\n"))
	if _, err := io.ReadFull(client, opening); err != nil {
		t.Fatal(err)
	}
	p.epoll.Freeze()
	p.hub.Emit("a", "n", []byte("1"))
	if err := p.epoll.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); err != nil || len(got) > 0 {
		t.Errorf("got %q, %v, want the end of the connection", got, err)
	}
}

// slow holds the loop up in Done.
type slow struct{ called, goOn chan struct{} }

func (slow) Conn() *wire.Conn { return new(wire.Conn) }

func (s slow) Done(wire.Reason) { s.called <- struct{}{}; <-s.goOn }

func newSlow() slow { return slow{make(chan struct{}, 1), make(chan struct{})} }

// wait waits until a loop is held up, or another thing is done.
func wait(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(testTimeout):
		t.Fatal("it takes too long: " + what)
	}
}

// What was told to a loop before Freeze is done when it stands, also while the loop is busy.
func TestToldBeforeFreeze(t *testing.T) {
	p := newProcess(t, time.Hour)
	room := p.hub.Open("a")
	busy := newSlow()
	_, fd := pair(t)
	p.epoll.Take(fd, room.Join(hub.JoinOptions{}), false, busy).End(time.Second)
	_, fd = pair(t)
	end := p.epoll.Take(fd, room.Join(hub.JoinOptions{}), false, p.ended)
	wait(t, "a stream to end", busy.called)
	end.End(time.Second)
	_, fd = pair(t)
	taken := p.epoll.Take(fd, room.Join(hub.JoinOptions{}), false, p.ended)
	time.AfterFunc(50*time.Millisecond, func() { close(busy.goOn) }) // by when Freeze has begun
	p.epoll.Freeze()
	select {
	case <-p.ended:
	default:
		t.Error("the end that was told before is not done")
	}
	if got := slices.Collect(p.epoll.Streams()); len(got) != 1 || got[0] != taken {
		t.Errorf("got streams %v, want the one that was taken before: %v", got, taken)
	}
}

// Freeze does not wait for a loop that is about to end.
func TestFreezeDuringClose(t *testing.T) {
	p := newProcess(t, time.Hour)
	room := p.hub.Open("a")
	first, second := newSlow(), newSlow()
	_, fd := pair(t)
	p.epoll.Take(fd, room.Join(hub.JoinOptions{}), false, first).End(time.Second)
	_, fd = pair(t)
	end := p.epoll.Take(fd, room.Join(hub.JoinOptions{}), false, second)
	wait(t, "the first stream to end", first.called)
	end.End(time.Second)
	closed, frozen := make(chan struct{}), make(chan struct{})
	go func() { defer close(closed); _ = p.epoll.Close() }()
	time.AfterFunc(50*time.Millisecond, func() { close(first.goOn) }) // by when Close has begun: the loop hears of it with the second end
	wait(t, "the second stream to end", second.called)
	go func() { defer close(frozen); p.epoll.Freeze() }()
	time.AfterFunc(50*time.Millisecond, func() { close(second.goOn) })
	wait(t, "Close", closed)
	wait(t, "Freeze", frozen)
}
