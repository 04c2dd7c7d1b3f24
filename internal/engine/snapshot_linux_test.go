package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"headcount/internal/engine"
)

const soonEnough = 15 * time.Second

// process is a running engine.
type process struct {
	*engine.Engine
	stop func()
}

func start(t *testing.T, opt engine.Options) *process {
	t.Helper()
	if opt.Linger == 0 {
		opt.Linger = time.Minute
	}
	e, err := engine.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	p := &process{e, sync.OnceFunc(func() {
		cancel()
		running.Wait()
		_ = e.Close()
	})}
	t.Cleanup(p.stop)
	return p
}

// subscribe opens a stream and reads up to its count.
func (p *process) subscribe(t *testing.T, want engine.Request) *reader {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	want.Room = "lobby"
	st, err := p.Subscribe(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.HandOver(conn, []byte("header\n"), false); err != nil {
		t.Fatal(err)
	}
	return &reader{t, client, bufio.NewReader(client)}
}

type reader struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// until reads up to the event with that name and data, and returns the events before it.
func (r *reader) until(event string) (before string) {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(soonEnough))
	var name string
	var all []string
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			r.t.Fatalf("got %q, then %v, want %q", all, err, event)
		}
		if n, ok := strings.CutPrefix(line, "event: "); ok {
			name = strings.TrimSpace(n)
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		if got := name + " " + strings.TrimSpace(data); got == event {
			return strings.Join(all, ", ")
		} else if name != "io:hello" {
			all = append(all, got)
		}
	}
}

func (p *process) freeze(t *testing.T) *engine.Snapshot {
	t.Helper()
	s, err := p.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// next returns the process that takes over from p with the bytes of the snapshot.
func (p *process) next(t *testing.T, opt engine.Options, streams bool) *process {
	t.Helper()
	n := p.resumed(t, opt, streams)
	if err := p.Release(t.Context()); err != nil {
		t.Errorf("release: %v", err)
	}
	p.stop()
	n.Thaw()
	return n
}

// resumed freezes p and returns a process with the same state, which is frozen too.
func (p *process) resumed(t *testing.T, opt engine.Options, streams bool) *process {
	t.Helper()
	s := p.freeze(t)
	state, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var fds []int
	if streams {
		fds = []int{}
		for _, fd := range s.Streams() {
			copied, err := unix.Dup(fd)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, copied)
		}
	}
	if opt.Resume, err = engine.ReadSnapshot(state, fds); err != nil {
		t.Fatal(err)
	}
	if opt.Resume.Users() != s.Users() || opt.Resume.Node() != s.Node() || !opt.Resume.Written().Equal(s.Written().Round(0)) {
		t.Errorf("read %d users of %s at %v, want %d of %s at %v", opt.Resume.Users(), opt.Resume.Node(), opt.Resume.Written(), s.Users(), s.Node(), s.Written())
	}
	return start(t, opt)
}

func (p *process) emit(t *testing.T, data, key string) string {
	t.Helper()
	id, _, err := p.Emit(t.Context(), engine.Event{Room: "lobby", Name: "n", Data: []byte(data), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Streams with and without ids move from process to process. Each event comes once, the count does not change, a key
// stays known, and a user who has left stays away.
func TestResume(t *testing.T) {
	p := start(t, engine.Options{})
	anonymous := p.subscribe(t, engine.Request{})
	named := p.subscribe(t, engine.Request{ClientID: "abcdefgh"})
	leased := p.subscribe(t, engine.Request{ClientID: "throughproxy", Proxied: true})
	for _, r := range []*reader{anonymous, named, leased} {
		r.until("user count 3")
	}
	id := p.emit(t, "1", "key")
	for i := range 3 {
		p = p.next(t, engine.Options{}, true)
		if again := p.emit(t, "1", "key"); again != id {
			t.Errorf("got %s for the same key, want %s", again, id)
		}
		p.emit(t, fmt.Sprint(i+2), "")
		if n := p.CountNow("lobby"); n != 3 {
			t.Errorf("got %d users, want 3", n)
		}
		if all := p.Streams(); all != 3 {
			t.Errorf("got %d streams, want 3", all)
		}
	}
	for i, r := range []*reader{anonymous, named, leased} {
		if before := r.until("n 4"); before != "n 1, n 2, n 3" {
			t.Errorf("reader %d got %s before n 4, want n 1, n 2, n 3", i, before)
		}
	}
	if err := p.Leave("lobby", []string{"abcdefgh"}, 0); err != nil {
		t.Fatal(err)
	}
	anonymous.until("user count 2")
	anonymous.conn.Close()
	leased.until("user count 1")
}

// After a takeover a stream still ends with its permission, and a lease without renewal still expires.
func TestResumeOfTimes(t *testing.T) {
	p := start(t, engine.Options{Linger: time.Millisecond})
	limited := p.subscribe(t, engine.Request{ClientID: "abcdefgh", Until: time.Now().Add(time.Second)})
	other := p.subscribe(t, engine.Request{})
	p.next(t, engine.Options{Linger: time.Millisecond}, true)
	_ = limited.conn.SetReadDeadline(time.Now().Add(soonEnough))
	limited.until("user count 2")
	for {
		if _, err := limited.in.ReadString('\n'); err != nil {
			break
		}
	}
	other.until("user count 1")
}

// If the next process does not start, this one resumes and handles the waiting requests.
func TestThaw(t *testing.T) {
	p := start(t, engine.Options{})
	r := p.subscribe(t, engine.Request{})
	p.freeze(t)
	done := make(chan string)
	go func() {
		id, _, _ := p.Emit(context.Background(), engine.Event{Room: "lobby", Name: "n", Data: []byte("1")})
		done <- id
	}()
	select {
	case id := <-done:
		t.Errorf("an event was emitted as %s while the engine was frozen", id)
	case <-time.After(50 * time.Millisecond):
	}
	p.Thaw()
	<-done
	r.until("n 1")
	p.subscribe(t, engine.Request{}).until("user count 2")
	r.until("user count 2")
}

// A process that has taken over the streams may fail before it is thawed. Then the first one continues.
func TestGiveUp(t *testing.T) {
	p := start(t, engine.Options{})
	r := p.subscribe(t, engine.Request{})
	next := p.resumed(t, engine.Options{}, true)
	if _, err := next.Freeze(); err == nil {
		t.Error("a frozen engine can be frozen, want an error")
	}
	if err := next.Release(t.Context()); err != nil {
		t.Error(err)
	}
	next.stop()
	p.Thaw()
	p.emit(t, "1", "")
	r.until("n 1")
}

// After another process has taken over, this one refuses requests.
func TestReleased(t *testing.T) {
	p := start(t, engine.Options{})
	p.freeze(t)
	if err := p.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Emit(t.Context(), engine.Event{Room: "lobby", Name: "n", Data: []byte("1")}); err == nil {
		t.Error("it emits, want an error")
	}
	if _, err := p.Subscribe(t.Context(), engine.Request{Room: "lobby"}); err == nil {
		t.Error("it takes a subscriber, want an error")
	}
	if p.Leave("lobby", []string{"abcdefgh"}, 0) == nil || p.Renew(t.Context(), engine.Request{}.Address, "lobby", []string{"abcdefgh"}) == nil {
		t.Error("users left or renewed without an error, want errors")
	}
}

// Users whose streams were not handed over get a grace period. The count stays, and they miss nothing.
func TestResumeWithoutStreams(t *testing.T) {
	p := start(t, engine.Options{})
	p.subscribe(t, engine.Request{}).until("user count 1")
	p.subscribe(t, engine.Request{ClientID: "abcdefgh"}).until("user count 2")
	cursor := p.emit(t, "1", "")
	p.emit(t, "2", "")
	p = p.next(t, engine.Options{}, false)
	if n := p.CountNow("lobby"); n != 2 {
		t.Errorf("got %d users, want 2", n)
	}
	for _, id := range []string{"", "abcdefgh"} {
		back := p.subscribe(t, engine.Request{ClientID: id, Cursor: cursor})
		if before := back.until("n 2"); before != "user count 2" {
			t.Errorf("one who is back got %s before n 2, want user count 2", before)
		}
	}
	p.subscribe(t, engine.Request{}).until("user count 3")
}

func TestReadSnapshot(t *testing.T) {
	p := start(t, engine.Options{})
	p.subscribe(t, engine.Request{}).until("user count 1")
	s := p.freeze(t)
	defer p.Thaw()
	state, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.ReadSnapshot(state, []int{}); err == nil || !strings.Contains(err.Error(), "1 streams, and there are 0 descriptors") {
		t.Errorf("without descriptors: got %v", err)
	}
	state[len(state)-1] ^= 1
	if _, err := engine.ReadSnapshot(state, nil); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged: got %v", err)
	}
}
