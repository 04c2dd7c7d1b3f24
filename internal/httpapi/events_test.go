package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/bubble"
	"headcount/internal/sse"
)

const (
	idA = "aaaaaaaa"
	idB = "bbbbbbbb"
)

// A new subscriber's first count includes itself, everybody gets every change, and the last value is right.
func TestCount(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		one := b.Open("")
		one.WantCounts("1")
		time.Sleep(time.Second)
		two := b.Open("room=lobby")
		two.WantCounts("2")
		one.WantCounts("1", "2")
		time.Sleep(time.Second)
		other := b.Open("stream=other")
		other.WantCounts("1")
		b.WantUsers("lobby", 2)
		b.WantUsers("other", 1)
		two.Cancel()
		one.WantCounts("1", "2", "1")
		b.WantUsers("lobby", 1)
		other.WantCounts("1")
		one.Cancel()
		other.Cancel()
		b.WantUsers("lobby", 0)
		b.WantUsers("other", 0)
	})
}

// The response begins with one write of header and opening, with less than 512 bytes of body. It has all headers that
// make proxies pass it on.
func TestOpening(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		conn := dial(t, b)
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /events?id="+idA+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 16<<10)
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		head, body, ok := strings.Cut(string(buffer[:n]), "\r\n\r\n")
		if !ok || !strings.Contains(body, "event: user count\ndata: 1\n\n") || len(body) >= 512 {
			t.Errorf("the first write is %q, want header and opening in less than 512 bytes", buffer[:n])
		}
		for _, want := range []string{
			"HTTP/1.1 200 OK\r\n", "\r\nContent-Type: text/event-stream\r\n",
			"\r\nCache-Control: no-cache, no-store, no-transform\r\n", "\r\nX-Accel-Buffering: no\r\n",
		} {
			if !strings.Contains(head+"\r\n", want) {
				t.Errorf("header %q lacks %q", head, want)
			}
		}
	})
}

func dial(t *testing.T, b *rig) net.Conn {
	t.Helper()
	conn, err := b.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// A stream begins with a retry of 1 to 3 s. io:hello comes first, only for a subscriber with an id. Each event has an
// id.
func TestHello(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		for _, query := range []string{"", "id=" + idA} {
			s := b.Open("room=r&" + query)
			all := s.Got()
			if ms, err := strconv.Atoi(all[0].Retry); err != nil || ms < 1000 || ms > 3000 {
				t.Errorf("%s: got retry %q, want 1000 to 3000", query, all[0].Retry)
			}
			var names []string
			for _, e := range all {
				if e.Dispatched {
					names = append(names, e.Name)
					if e.ID == "" {
						t.Errorf("%s: event %s has no id", query, e.Name)
					}
				}
			}
			want := "user count"
			if query != "" {
				want = "io:hello user count"
				if hello := s.Values(sse.Hello)[0]; !strings.HasPrefix(hello, `{"id":"`+idA+`","ping":0`) {
					t.Errorf("got io:hello %s", hello)
				}
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%s: got %s, want %s", query, got, want)
			}
		}
	})
}

// One client id is one user, however many streams it has. Two ids are two users.
func TestClientIDs(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		first := b.Open("id=" + idA)
		second := b.Open("id=" + idA)
		b.WantUsers("lobby", 1)
		other := b.Open("id=" + idB)
		other.WantCounts("2")
		b.WantUsers("lobby", 2)
		first.Cancel()
		time.Sleep(time.Minute)
		b.WantUsers("lobby", 2)
		second.Cancel()
		time.Sleep(2*time.Second - 1)
		b.WantUsers("lobby", 2)
		time.Sleep(time.Nanosecond)
		b.WantUsers("lobby", 1)
		other.WantCounts("2", "1")
	})
}

// A client that reconnects within its grace period does not change the count, and gets a new grace period.
func TestLinger(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		watcher := b.Open("")
		s := b.Open("id=" + idA)
		for range 5 {
			time.Sleep(time.Minute)
			s.Cancel()
			time.Sleep(1999 * time.Millisecond)
			s = b.Open("id=" + idA)
			s.WantCounts("2")
		}
		watcher.WantCounts("1", "2")
		s.Cancel()
		time.Sleep(2 * time.Second)
		watcher.WantCounts("1", "2", "1")
	})
}

// The end of a short grace period is as exact as that of a long one.
func TestShortLinger(t *testing.T) {
	inBubble(t, options{Linger: 300 * time.Millisecond}, func(t *testing.T, b *rig) {
		watcher := b.Open("")
		time.Sleep(time.Second)
		s := b.Open("id=" + idA)
		time.Sleep(100 * time.Millisecond)
		s.Cancel()
		time.Sleep(300*time.Millisecond - 1)
		watcher.WantCounts("1", "2")
		time.Sleep(time.Nanosecond)
		watcher.WantCounts("1", "2", "1")
	})
}

func TestNoLinger(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		s := b.Open("id=" + idA)
		b.WantUsers("lobby", 1)
		s.Cancel()
		b.WantUsers("lobby", 0)
	})
}

// No silence is longer than the heartbeat. A subscriber gets a comment, or io:ping if it has an id.
func TestHeartbeat(t *testing.T) {
	inBubble(t, options{Heartbeat: 10 * time.Second}, func(t *testing.T, b *rig) {
		plain, named := b.Open("room=a"), b.Open("room=b&id="+idA)
		begin := time.Now()
		time.Sleep(65 * time.Second)
		var pings []time.Time
		for _, block := range named.Got() {
			if block.Name == sse.Ping {
				pings = append(pings, block.At)
			}
		}
		for name, beats := range map[string][]time.Time{"comment": plain.Comments(), "ping": pings} {
			if len(beats) != 6 {
				t.Errorf("%s: got %d heartbeats in 65 s, want 6", name, len(beats))
			}
			last := begin
			for _, at := range beats {
				if silence := at.Sub(last); silence > 10*time.Second {
					t.Errorf("%s: silent for %v", name, silence)
				}
				last = at
			}
		}
		plain.WantCounts("1")
	})
}

// A client that does not read is given up and leaves the count.
func TestStalledReader(t *testing.T) {
	inBubble(t, options{Heartbeat: 10 * time.Second}, func(t *testing.T, b *rig) {
		conn := dial(t, b)
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.WantUsers("lobby", 1)
		time.Sleep(30 * time.Second)
		b.WantUsers("lobby", 0)
		if n := b.seen.of("stream stalled"); n != 1 {
			t.Errorf("%d streams are known as stalled, want 1", n)
		}
	})
}

// Drain ends every stream cleanly within its time, tells each client when to reconnect, refuses new streams, and
// changes no count.
func TestDrain(t *testing.T) {
	const streams = 50
	inBubble(t, options{Drain: 10 * time.Second}, func(t *testing.T, b *rig) {
		var all []*bubble.Stream
		for i := range streams {
			all = append(all, b.Open("id="+idA+strconv.Itoa(i)))
		}
		time.Sleep(time.Minute)
		begin := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- b.engine.Drain(t.Context()) }()
		time.Sleep(time.Millisecond)
		if err := b.engine.Ready(); err == nil {
			t.Error("the engine is ready while it drains")
		}
		refused := b.Do("GET", "/events", "")
		refused.WantError(t, 503)
		if s, err := strconv.Atoi(refused.Header.Get("Retry-After")); err != nil || s < 1 {
			t.Errorf("got Retry-After %q, want seconds", refused.Header.Get("Retry-After"))
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("drain took %v, want 10 s at most", took)
		}
		retries := map[string]bool{}
		for i, s := range all {
			if err := s.Ended(); err != io.EOF {
				t.Errorf("stream %d ended with %v, want a clean end", i, err)
			}
			got := s.Got()
			retries[got[len(got)-1].Retry] = true
			if counts := s.Values("user count"); counts[len(counts)-1] != strconv.Itoa(streams) {
				t.Errorf("stream %d was told %s users at the end, want %d", i, counts[len(counts)-1], streams)
			}
		}
		if len(retries) < streams/2 || retries[""] {
			t.Errorf("got retries %v, want a random one each", retries)
		}
		begin = time.Now()
		if err := b.engine.Drain(t.Context()); err != nil || time.Since(begin) > 0 {
			t.Errorf("a second Drain returned %v after %v, want nil at once", err, time.Since(begin))
		}
	})
}

// A client that does not read cannot keep Drain from ending.
func TestDrainWithStalledReader(t *testing.T) {
	inBubble(t, options{Drain: 5 * time.Second}, func(t *testing.T, b *rig) {
		conn := dial(t, b)
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		healthy := b.Open("")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if err := b.engine.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 5*time.Second {
			t.Errorf("got %v after %v, want the end of the time after 5 s", err, time.Since(begin))
		}
		if err := healthy.Ended(); err != io.EOF {
			t.Errorf("the healthy stream ended with %v, want a clean end", err)
		}
	})
}

func TestDrainOfNobody(t *testing.T) {
	inBubble(t, options{Drain: 10 * time.Second}, func(t *testing.T, b *rig) {
		begin := time.Now()
		if err := b.engine.Drain(t.Context()); err != nil || time.Since(begin) > 0 {
			t.Errorf("got %v after %v, want nothing at once", err, time.Since(begin))
		}
	})
}

// Missed events come for a cursor in the header and in the query. An invalid cursor is a gap.
func TestResume(t *testing.T) {
	inBubble(t, options{Token: "secret"}, func(t *testing.T, b *rig) {
		emit := func(n int) {
			a := b.Do("POST", "/emit", fmt.Sprintf(`{"event":"news","data":%d}`, n), "Authorization", "Bearer secret")
			if a.StatusCode != 200 {
				t.Fatalf("got %s %s", a.Status, a.Body)
			}
		}
		s := b.Open("")
		emit(1)
		var cursor string
		for _, block := range s.Got() {
			cursor = block.ID
		}
		s.Cancel()
		emit(2)
		emit(3)
		for name, s := range map[string]*bubble.Stream{
			"header":            b.Open("", "Last-Event-ID", cursor),
			"query":             b.Open("lastEventId=" + cursor),
			"header, not query": b.Open("lastEventId=rubbish", "Last-Event-ID", cursor),
		} {
			if got := strings.Join(s.Values("news"), " "); got != "2 3" || len(s.Values(sse.Gap)) > 0 {
				t.Errorf("%s: got news %s and gaps %v, want 2 3 and none", name, got, s.Values(sse.Gap))
			}
		}
		for _, query := range []string{"rubbish", "%zz", "%", "17;DROP", "%00", "%ff&poll=0"} {
			lost := b.Open("lastEventId=" + query)
			if got := strings.Join(lost.Values("news"), " "); got != "1 2 3" || strings.Join(lost.Values(sse.Gap), "") != `{"missed":null}` {
				t.Errorf("%s: got news %s and gaps %v, want all and a gap", query, got, lost.Values(sse.Gap))
			}
		}
	})
}
