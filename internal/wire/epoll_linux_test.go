package wire_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"headcount/internal/hub"
	"headcount/internal/wire"
)

// owner is notified by the loop.
type owner chan wire.Reason

func (owner) Conn() *wire.Conn { return new(wire.Conn) }

func (o owner) Done(r wire.Reason) { o <- r }

// pair returns both ends of a loopback connection, the server's end as a socket.
func pair(t testing.TB) (client *net.TCPConn, socket wire.Socket) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if socket, err = wire.Detach(in, nil); err != nil {
		t.Fatal(err)
	}
	_ = out.SetDeadline(time.Now().Add(testTimeout))
	return out.(*net.TCPConn), socket
}

// A stream that comes after Close is closed, not forgotten. End has no effect.
func TestTakeAfterClose(t *testing.T) {
	e, err := wire.NewEpoll(time.Hour, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.Options{})
	client, socket := pair(t)
	e.Take(socket, h.Open("a").Join(hub.JoinOptions{}), false, make(owner, 1)).End(0)
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

// readUntil reads up to the event n, which must be the last one.
func readUntil(c *net.TCPConn, n int) error {
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	last, buffer := []byte("data: "+strconv.Itoa(n)+"\n\n\r\n"), make([]byte, 64<<10)
	for size := 0; !bytes.HasSuffix(buffer[:size], last); {
		k, err := c.Read(buffer[size:])
		if err != nil {
			return fmt.Errorf("got %q, not event %d: %w", buffer[:size], n, err)
		}
		size += k
	}
	return nil
}

// A room has more clients than a pass serves at a time. No client misses the last event if news comes or other clients
// leave during the pass.
func TestPassOfBigRoom(t *testing.T) {
	const readers, rounds = 2500, 4
	e, err := wire.NewEpoll(time.Hour, true)
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.Options{})
	room := h.Open("a")
	var clients []*net.TCPConn
	ended := make(owner, readers)
	for range readers {
		client, socket := pair(t)
		e.Take(socket, room.Join(hub.JoinOptions{Chunked: true}), false, ended)
		clients = append(clients, client)
	}
	emitted := 0
	emit := func() { emitted++; h.Emit("a", "n", []byte(strconv.Itoa(emitted))) }
	for round := range rounds {
		// Each event comes while the one before it is on its way through the room.
		first := clients[:2]
		for range 5 {
			emit()
			for _, c := range first {
				if err := readUntil(c, emitted); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
			}
		}
		clients = clients[2:] // these have not been first in a round yet
		for i, c := range clients {
			if err := readUntil(c, emitted); err != nil {
				t.Fatalf("round %d, reader %d: %v", round, i, err)
			}
		}
		// Some leave in the meantime.
		going := clients[:100]
		clients = clients[100:]
		var all sync.WaitGroup
		all.Go(func() {
			for range 20 {
				emit()
			}
		})
		all.Go(func() {
			for _, c := range going {
				_ = c.SetLinger(0)
				_ = c.Close()
			}
		})
		all.Wait()
		for i, c := range clients {
			if err := readUntil(c, emitted); err != nil {
				t.Fatalf("round %d, reader %d: %v", round, i, err)
			}
		}
	}
	for range rounds * 100 {
		select {
		case why := <-ended:
			if why != wire.Gone {
				t.Errorf("a stream ended as %s, want gone", why)
			}
		case <-time.After(testTimeout):
			t.Fatal("not every reader that went was noticed")
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// No client loses an event when io_uring stops working. write(2) continues where it stopped.
func TestRingBreaks(t *testing.T) {
	e, err := wire.NewEpoll(time.Hour, true)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if !e.Uring() {
		t.Skip("the kernel does not let this process use io_uring")
	}
	h := hub.New(hub.Options{})
	room := h.Open("a")
	var clients []*net.TCPConn
	for range 150 {
		client, socket := pair(t)
		e.Take(socket, room.Join(hub.JoinOptions{Chunked: true}), false, make(owner, 1))
		clients = append(clients, client)
	}
	for n := 1; n <= 4; n++ {
		if n == 3 {
			breakRings(t)
		}
		h.Emit("a", "n", []byte(strconv.Itoa(n)))
		for i, c := range clients {
			if err := readUntil(c, n); err != nil {
				t.Fatalf("event %d, reader %d: %v", n, i, err)
			}
		}
	}
}

// breakRings makes each system call on an io_uring of this process fail from now on.
func breakRings(t *testing.T) {
	t.Helper()
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	for _, f := range files {
		if is, _ := os.Readlink("/proc/self/fd/" + f.Name()); is != "anon_inode:[io_uring]" {
			continue
		}
		fd, err := strconv.Atoi(f.Name())
		if err == nil {
			err = unix.Dup3(null, fd, unix.O_CLOEXEC)
		}
		if err != nil {
			t.Fatal(err)
		}
		broken++
	}
	if broken == 0 {
		t.Fatal("there is no io_uring")
	}
}

// A pass allocates the same for any number of clients. What they get is made once.
func TestNoAllocationPerDelivery(t *testing.T) {
	const readers = 300
	e, err := wire.NewEpoll(time.Hour, true)
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.Options{History: 1})
	room := h.Open("a")
	var clients []*net.TCPConn
	for range readers {
		client, socket := pair(t)
		e.Take(socket, room.Join(hub.JoinOptions{Chunked: true}), false, make(owner, 1))
		clients = append(clients, client)
	}
	data, buffer := []byte(`"`+strings.Repeat("x", 200)+`"`), make([]byte, 4<<10)
	emit := func() {
		h.Emit("a", "n", data)
		for _, c := range clients {
			n := 0
			for n < len(data) || string(buffer[n-4:n]) != "\n\n\r\n" {
				k, err := c.Read(buffer[n:])
				if err != nil {
					t.Fatal(err)
				}
				n += k
			}
		}
	}
	emit() // also reads the opening
	if got := testing.AllocsPerRun(50, emit); got >= readers/10 {
		t.Errorf("an event to %d readers takes %v allocations, want a few", readers, got)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkPass measures the fan-out of one event to that many clients on this machine, including their reads.
// Processor time is more reliable than elapsed time while other programs run.
func BenchmarkPass(b *testing.B) {
	for _, readers := range []int{1, 16, 2000} {
		for _, secure := range []bool{false, true} {
			for _, uring := range []bool{false, true} {
				b.Run(fmt.Sprintf("readers=%d/tls=%v/uring=%v", readers, secure, uring), func(b *testing.B) { pass(b, readers, secure, uring) })
			}
		}
	}
}

func pass(b *testing.B, readers int, secure, uring bool) {
	e, err := wire.NewEpoll(10*time.Second, uring)
	if err != nil {
		b.Fatal(err)
	}
	h := hub.New(hub.Options{History: 1})
	room := h.Open("a")
	var clients []net.Conn
	buffer := make([]byte, 4<<10)
	for range readers {
		var client net.Conn
		var socket wire.Socket
		sub := room.Join(hub.JoinOptions{Chunked: true, Prefix: []byte("HTTP/1.1 200 OK\r\n\r\n")})
		if secure {
			server, c := tlsPair(b, nil, nil)
			if socket, err = wire.Detach(server, sub); err != nil {
				b.Fatal(err)
			}
			if _, err := c.Read(buffer); err != nil { // the opening
				b.Fatal(err)
			}
			client = c.NetConn() // the rest is only read
		} else {
			client, socket = pair(b)
		}
		e.Take(socket, sub, false, make(owner, 1))
		if !secure {
			if _, err := client.Read(buffer); err != nil {
				b.Fatal(err)
			}
		}
		_ = client.SetDeadline(time.Time{})
		clients = append(clients, client)
	}
	data := []byte(`"` + strings.Repeat("x", 200) + `"`)
	before := processorTime(b)
	b.ReportAllocs()
	for b.Loop() {
		h.Emit("a", "n", data)
		for _, c := range clients {
			if _, err := c.Read(buffer); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N)/float64(readers), "cpu-ns/delivery")
	if err := e.Close(); err != nil {
		b.Error(err)
	}
}

func processorTime(b *testing.B) time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
