//go:build linux

package wire_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/internal/hub"
	"headcount/internal/sse/ssetest"
	"headcount/internal/wire"
)

// The smallest buffer size that Linux accepts. Linux doubles the number.
const tiny = 2 << 10

func tinyBuffer(r *rig) { r.sndbuf = tiny }

func history(n int) func(*rig) {
	return func(r *rig) { r.hub = hub.New(hub.Options{History: n}) }
}

// Every client gets everything, and all see one order of events and states.
func TestOrder(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		const readers, events = 20, 400
		r := start()
		all := make([]*reader, readers)
		for i := range all {
			all[i] = r.open("room=a")
			r.stream(i)
		}
		var emits sync.WaitGroup
		emits.Go(func() { r.emit("a", 1, events, 0) })
		emits.Go(func() {
			for n := range events {
				r.count("a", n)
			}
			r.hub.Emit("a", "last", []byte("0"))
		})
		place := map[string]int{} // of each count, the event before it
		for i, c := range all {
			n, last := 0, false
			count := -1
			for n < events || !last || count < events-1 {
				switch e := c.event(); e.Name {
				case "n":
					if n++; strings.TrimSpace(e.Data) != strconv.Itoa(n) {
						t.Fatalf("reader %d: got event %s, want %d", i, e.Data, n)
					}
				case "last":
					last = true
				case "user count":
					v, err := strconv.Atoi(e.Data)
					if err != nil || v <= count {
						t.Fatalf("reader %d: got count %s after %d", i, e.Data, count)
					}
					count = v
					if at, ok := place[e.Data]; !ok {
						place[e.Data] = n
					} else if at != n {
						t.Fatalf("reader %d: count %s came after event %d, for another reader after %d", i, e.Data, n, at)
					}
				}
			}
		}
		emits.Wait()
	})
}

// With buffers of a few KiB and a client that reads single bytes, hardly any write goes out completely.
func TestPartialWrites(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start(tinyBuffer)
		c := r.subscribe("room=a", tiny)
		r.stream(0)
		r.emit("a", 1, 40, 3000)
		r.emit("a", 41, 41, 100<<10) // more than a batch
		r.emit("a", 42, 60, 10)
		c.answer(oneByte{c.in})
		c.wantNumbers(1, 60)
		r.stream(0).end(0)
		c.wantFarewell("0")
	})
}

// More than a batch comes at once, with buffers that take all of it. A pass continues until all subscribers have
// everything, because nothing will wake it again.
func TestBurst(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		const readers, events = 8, 300
		r := start()
		all := make([]*reader, readers)
		for i := range all {
			all[i] = r.open("room=a")
			r.stream(i)
		}
		r.emit("a", 1, events, 1<<10)
		for _, c := range all {
			c.wantNumbers(1, events)
		}
	})
}

// A client that has gone is noticed at once, no matter how it left and what was on its way to it, without waiting for a
// heartbeat.
func TestReaderGone(t *testing.T) {
	fin := func(c *reader) { _ = c.conn.Close() }
	rst := func(c *reader) { _ = c.conn.SetLinger(0); _ = c.conn.Close() }
	half := func(c *reader) { _ = c.conn.CloseWrite() }
	notify := func(c *reader) { _ = c.tls.CloseWrite() }
	both := func(c *reader) { _ = c.tls.Close() }
	for _, tt := range []struct {
		name string
		end  func(*reader)
		emit int // events of 1 KiB that it has not read
	}{
		{"FIN", fin, 0},
		{"RST", rst, 0},
		{"half-closed", half, 0},
		{"FIN with unread events", fin, 500},
		{"RST with unread events", rst, 500},
		{"close_notify", notify, 0},
		{"close_notify and FIN", both, 0},
		{"close_notify with unread events", notify, 500},
		{"close_notify and FIN with unread events", both, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
				r := start(tinyBuffer)
				if strings.HasPrefix(tt.name, "close_notify") && (r.client == nil || !r.hijack && tt.emit > 0) {
					return // there is none without TLS, and net/http does not read while it writes
				}
				c := r.subscribe("room=a", tiny).answer(nil)
				r.stream(0)
				r.emit("a", 1, tt.emit, 1<<10)
				tt.end(c)
				r.stream(0).wantEnd(t, wire.Gone)
				eventually(t, func() error { return roomGone(r, tt.emit) })
			})
		})
	}
}

// roomGone returns an error if a room is still open. A room that is not open stays only for its history, which Trim
// drops.
func roomGone(r *rig, events int) error {
	r.hub.Trim(time.Now().Add(time.Hour))
	if n := r.hub.Rooms(); n != 0 {
		return fmt.Errorf("%d rooms are left of a reader that has gone (after %d events)", n, events)
	}
	return nil
}

// HTTP/1.0 has no chunks. The end of the connection ends the response.
func TestHTTP10(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start()
		c := r.ask(0, "GET /events?room=a HTTP/1.0\r\n\r\n")
		s := r.stream(0)
		r.emit("a", 1, 3, 0)
		s.end(time.Second)
		all, err := io.ReadAll(c.in)
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := strings.Cut(string(all), "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.0 200 OK\r\n") || strings.Contains(head, "Transfer-Encoding") {
			t.Errorf("got header %q", head)
		}
		got := ssetest.Parse([]byte(body))
		if len(got) != 3 || got[2].Data != "3" {
			t.Errorf("got events %v, want 1 to 3", got)
		}
		if !strings.HasSuffix(body, "retry: 1000\n") {
			t.Errorf("body ends with %q, want the farewell and nothing else", body[max(0, len(body)-30):])
		}
		s.wantEnd(t, wire.Ended)
	})
}

// What a client sends after its request disturbs neither the stream nor its clean end.
func TestRubbishBehindRequest(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start()
		rubbish := strings.Repeat("POST /nothing HTTP/1.1\r\n\x00\xff", 1000)
		if r.tlsLoop() {
			rubbish = "" // it ends a stream over TLS, see TestInputOverTLS
		}
		c := r.ask(0, "GET /events?room=a HTTP/1.1\r\nHost: x\r\n\r\n"+rubbish).answer(nil)
		s := r.stream(0)
		r.emit("a", 1, 10, 0)
		c.wantNumbers(1, 10)
		if _, err := io.WriteString(c.in, rubbish); err != nil {
			t.Fatal(err)
		}
		r.emit("a", 11, 20, 0)
		c.wantNumbers(11, 20)
		s.end(time.Second)
		c.wantFarewell("1000")
		s.wantEnd(t, wire.Ended)
		if r.epoll == nil {
			return // net/http reads the rubbish as the next request
		}
		// There is no reset, which could overtake the last bytes.
		if _, err := c.in.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v behind the response, want the end of the connection", err)
		}
	})
}

// A client that has sent rubbish and then leaves is noticed, at the latest by the next writes.
func TestGoneAfterRubbish(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start(func(r *rig) { r.heartbeat = 50 * time.Millisecond })
		c := r.ask(0, "GET /events?room=a HTTP/1.1\r\nHost: x\r\n\r\nrubbish").answer(nil)
		_ = c.conn.Close()
		r.stream(0).wantEnd(t, wire.Gone)
	})
}

// Many streams run in several rooms, and some leave and join during the passes. No client that stays misses the last
// count, or gets an event of another room.
func TestCrowd(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		const rooms, rounds = 4, 10
		streams := 1000
		r := start()
		if r.client != nil {
			streams = 250 // each has its handshake
		}
		var readers sync.WaitGroup
		var mu sync.Mutex
		var wrong []error
		read := func(i int, leaves bool) {
			room := fmt.Sprint("room", i%rooms)
			c := r.open("room=" + room)
			_ = c.conn.SetDeadline(time.Now().Add(8 * testTimeout)) // all of this takes time
			readers.Go(func() {
				defer c.conn.Close()
				until := rounds
				if leaves {
					until = rand.IntN(rounds)
				}
				last, next := -1, 0
				for last < until {
					e, err := c.Next()
					if err == nil && e.Name != "user count" && e.Name != room {
						err = fmt.Errorf("got event %q", e.Name)
					}
					n, _ := strconv.Atoi(e.Data)
					switch {
					case err != nil:
					case e.Name == "user count" && n <= last:
						err = fmt.Errorf("got count %d after %d", n, last)
					case e.Name == room && next != 0 && n != next:
						err = fmt.Errorf("got event %d, want %d", n, next)
					}
					if err != nil {
						mu.Lock()
						wrong = append(wrong, fmt.Errorf("reader %d of %s at count %d: %w", i, room, last, err))
						mu.Unlock()
						return
					}
					if e.Name == room {
						next = n + 1
					} else {
						last = n
					}
				}
			})
		}
		for i := range streams {
			read(i, i%5 == 0)
		}
		for n := 1; n <= rounds; n++ {
			for room := range rooms {
				name := fmt.Sprint("room", room)
				r.count(name, n)
				r.hub.Emit(name, name, []byte(strconv.Itoa(n)))
			}
			for i := range 10 {
				read(streams+10*n+i, i%2 == 0)
			}
		}
		readers.Wait()
		for i, err := range wrong {
			if t.Error(err); i == 10 {
				break
			}
		}
		for i := range streams + 10*rounds {
			r.stream(i).wantEnd(t, wire.Gone)
		}
	})
}
