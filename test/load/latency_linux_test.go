package load

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"headcount/test/rig"
)

// The test measures how long an event takes from just before its POST to each reader, with ten events a second on an
// idle machine. The readers are one epoll loop in this process, because with goroutines the reading would be most of
// what is measured. Each row takes 2 s, or LOAD_TIME. The figures are only logged, because a busy machine is not a
// fault.
func TestEmitLatency(t *testing.T) {
	const rate = 10
	lasting := 2 * time.Second
	if s := os.Getenv("LOAD_TIME"); s != "" {
		var err error
		if lasting, err = time.ParseDuration(s); err != nil {
			t.Fatalf("read LOAD_TIME: %v", err)
		}
	}
	for _, readers := range []int{1, 100, 1000} {
		t.Run(fmt.Sprint(readers, " readers"), func(t *testing.T) {
			server := rig.StartPlain(t, "-token", "secret", "-max-streams", "0")
			a := newAudience(t, server, readers)
			e, err := dialEmitter(server.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer e.conn.Close()
			var took []time.Duration
			for n := range int(lasting.Seconds() * rate) {
				time.Sleep(time.Second / rate)
				begin := time.Now()
				answered := make(chan error, 1)
				go func() { answered <- e.emit(n) }()
				for _, at := range a.hear(t, fmt.Sprintf("data: %d\n", n)) {
					took = append(took, at.Sub(begin))
				}
				if err := <-answered; err != nil {
					t.Fatalf("emit %d: %v", n, err)
				}
			}
			slices.Sort(took)
			share := func(of float64) time.Duration { return took[int(of*float64(len(took)-1))].Round(time.Microsecond) }
			t.Logf("emit to receipt, %d readers: p50 %v, p99 %v, max %v", readers, share(0.5), share(0.99), share(1))
			if share(0.5) > 500*time.Millisecond {
				t.Errorf("half of the readers had an event after %v, want it within 500ms even on a busy machine", share(0.5))
			}
		})
	}
}

// Events in a thousand other rooms cost the readers of a room nothing. They get no byte of them, and an event to their
// room takes the server as long as without the others.
func TestEmitToOtherRooms(t *testing.T) {
	const rooms, readers, rounds = 1000, 1000, 5
	server := rig.StartPlain(t, "-token", "secret", "-max-streams", "0", "-heartbeat", "5m")
	e, err := dialEmitter(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer e.conn.Close()
	emitAll := func() time.Duration {
		before := cpuTime(t, server.Pid())
		for n := range rooms * rounds {
			if err := e.post(fmt.Sprintf(`{"event":"n","data":%d,"room":"room %d"}`, n, n%rooms)); err != nil {
				t.Fatalf("emit %d: %v", n, err)
			}
		}
		return (cpuTime(t, server.Pid()) - before) / (rooms * rounds)
	}
	emitAll() // the rooms are new, and so is the server
	alone := emitAll()
	a := newAudience(t, server, readers)
	crowded := emitAll()
	if n := a.waiting(t); n > 0 {
		t.Errorf("%d of %d readers of another room were woken", n, readers)
	}
	t.Logf("CPU time of the server for an emit to one of %d rooms: %v, with %d readers of another room %v", rooms, alone, readers, crowded)
	if crowded > 2*alone+50*time.Microsecond {
		t.Errorf("with readers in another room an emit costs %v, want about %v", crowded, alone)
	}
}

// audience is readers of the lobby that one epoll set waits for.
type audience struct {
	poll    int
	sockets []int
	tails   map[int][]byte // by socket: the last bytes that came
	ready   []syscall.EpollEvent
	buffer  []byte
}

func newAudience(t *testing.T, server *rig.Server, readers int) *audience {
	poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(poll) })
	a := &audience{poll: poll, tails: map[int][]byte{}, ready: make([]syscall.EpollEvent, max(256, readers)), buffer: make([]byte, 64<<10)}
	for range readers {
		conn := request(t, server)
		file, err := conn.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		fd := int(file.Fd())
		if err := syscall.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
		if err := syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}); err != nil {
			t.Fatal(err)
		}
		a.sockets = append(a.sockets, fd)
	}
	a.hear(t, fmt.Sprintf("event: user count\ndata: %d\n", readers))
	return a
}

// hear waits until the text has come to all readers, and returns when it came to each.
func (a *audience) hear(t *testing.T, text string) []time.Time {
	t.Helper()
	heard := make(map[int]time.Time, len(a.sockets))
	for end := time.Now().Add(20 * time.Second); len(heard) < len(a.sockets); {
		n, err := syscall.EpollWait(a.poll, a.ready, 1000)
		if err != nil && err != syscall.EINTR {
			t.Fatalf("wait for readers: %v", err)
		}
		if time.Now().After(end) {
			t.Fatalf("%q came to %d of %d readers", text, len(heard), len(a.sockets))
		}
		for _, ready := range a.ready[:max(n, 0)] {
			fd := int(ready.Fd)
			n, err := syscall.Read(fd, a.buffer)
			at := time.Now()
			if n <= 0 {
				t.Fatalf("a stream ended: %v", err)
			}
			tail := append(a.tails[fd], a.buffer[:n]...)
			if bytes.Contains(tail, []byte(text)) {
				heard[fd] = at
				tail = tail[:0]
			}
			a.tails[fd] = append(tail[:0], tail[max(0, len(tail)-100):]...)
		}
	}
	var times []time.Time
	for _, at := range heard {
		times = append(times, at)
	}
	return times
}

// waiting returns how many readers have something to read.
func (a *audience) waiting(t *testing.T) int {
	n, err := syscall.EpollWait(a.poll, a.ready, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// cpuTime returns the processor time of a process so far, of all its threads together.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all time.Duration
	for _, thread := range threads {
		// "time spent on the cpu (in nanoseconds)", the first of three numbers.
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, thread.Name()))
		if err != nil {
			continue // the thread has just ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		all += time.Duration(ns)
	}
	return all
}
