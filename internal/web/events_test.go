package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"headcount/internal/sse"
	"headcount/internal/web"
)

const (
	idA = "aaaaaaaa"
	idB = "bbbbbbbb"
)

// The lesson: a newcomer's first count includes itself, everybody hears of every
// change, and the last value is the true one.
func TestCount(t *testing.T) {
	inBubble(t, web.Options{}, func(t *testing.T, b *bubble) {
		one := b.open("")
		one.wantCounts("1")
		time.Sleep(time.Second)
		two := b.open("room=lobby")
		two.wantCounts("2")
		one.wantCounts("1", "2")
		time.Sleep(time.Second)
		other := b.open("stream=other")
		other.wantCounts("1")
		b.wantUsers("lobby", 2)
		b.wantUsers("other", 1)
		two.cancel()
		one.wantCounts("1", "2", "1")
		b.wantUsers("lobby", 1)
		other.wantCounts("1")
		one.cancel()
		other.cancel()
		b.wantUsers("lobby", 0)
		b.wantUsers("other", 0)
	})
}

// The answer begins with one write of header and opening, less than 512 bytes of it
// body, and says all that makes proxies pass it on.
func TestOpening(t *testing.T) {
	inBubble(t, web.Options{}, func(t *testing.T, b *bubble) {
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

func dial(t *testing.T, b *bubble) net.Conn {
	t.Helper()
	conn, err := b.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// The opening of a stream: a retry of 1 to 3 s, io:hello first and only for who gave
// an id, and an id: with each event.
func TestHello(t *testing.T) {
	inBubble(t, web.Options{}, func(t *testing.T, b *bubble) {
		for _, query := range []string{"", "id=" + idA} {
			s := b.open("room=r&" + query)
			all := s.got()
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
				if hello := s.values(sse.Hello)[0]; !strings.HasPrefix(hello, `{"id":"`+idA+`","ping":0`) {
					t.Errorf("got io:hello %s", hello)
				}
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%s: got %s, want %s", query, got, want)
			}
		}
	})
}

// One client id is one user, however many streams it has; two are two.
func TestClientIDs(t *testing.T) {
	inBubble(t, web.Options{Linger: 2 * time.Second}, func(t *testing.T, b *bubble) {
		first := b.open("id=" + idA)
		second := b.open("id=" + idA)
		b.wantUsers("lobby", 1)
		other := b.open("id=" + idB)
		other.wantCounts("2")
		b.wantUsers("lobby", 2)
		first.cancel()
		time.Sleep(time.Minute)
		b.wantUsers("lobby", 2)
		second.cancel()
		time.Sleep(2*time.Second - 1)
		b.wantUsers("lobby", 2)
		time.Sleep(time.Nanosecond)
		b.wantUsers("lobby", 1)
		other.wantCounts("2", "1")
	})
}

// Who comes back while its id lingers makes no flicker, and lingers anew.
func TestLinger(t *testing.T) {
	inBubble(t, web.Options{Linger: 2 * time.Second}, func(t *testing.T, b *bubble) {
		watcher := b.open("")
		s := b.open("id=" + idA)
		for range 5 {
			time.Sleep(time.Minute)
			s.cancel()
			time.Sleep(1999 * time.Millisecond)
			s = b.open("id=" + idA)
			s.wantCounts("2")
		}
		watcher.wantCounts("1", "2")
		s.cancel()
		time.Sleep(2 * time.Second)
		watcher.wantCounts("1", "2", "1")
	})
}

// The end of a short time is told as exactly as that of a long one.
func TestShortLinger(t *testing.T) {
	inBubble(t, web.Options{Linger: 300 * time.Millisecond}, func(t *testing.T, b *bubble) {
		watcher := b.open("")
		time.Sleep(time.Second)
		s := b.open("id=" + idA)
		time.Sleep(100 * time.Millisecond)
		s.cancel()
		time.Sleep(300*time.Millisecond - 1)
		watcher.wantCounts("1", "2")
		time.Sleep(time.Nanosecond)
		watcher.wantCounts("1", "2", "1")
	})
}

func TestNoLinger(t *testing.T) {
	inBubble(t, web.Options{}, func(t *testing.T, b *bubble) {
		s := b.open("id=" + idA)
		b.wantUsers("lobby", 1)
		s.cancel()
		b.wantUsers("lobby", 0)
	})
}

// A goodbye counts at once, ends all streams of the id cleanly, and concerns nobody
// else and no other room.
func TestLeave(t *testing.T) {
	inBubble(t, web.Options{Linger: time.Minute}, func(t *testing.T, b *bubble) {
		watcher := b.open("")
		a1, a2, other := b.open("id="+idA), b.open("id="+idA), b.open("room=other&id="+idA)
		bee := b.open("id=" + idB)
		b.wantUsers("lobby", 3)
		a := b.do("POST", "/leave", `{"ids":["`+idA+`"]}`, "Content-Type", "text/plain;charset=UTF-8")
		if a.StatusCode != 204 || a.body != "" {
			t.Errorf("got %s %q, want 204 and nothing", a.Status, a.body)
		}
		b.wantUsers("lobby", 2)
		b.wantUsers("other", 1)
		for i, s := range []*stream{a1, a2} {
			if err := s.ended(); err != io.EOF {
				t.Errorf("stream %d ended with %v, want a clean end", i, err)
			}
		}
		for i, s := range []*stream{bee, other, watcher} {
			if err := s.ended(); err != nil {
				t.Errorf("stream %d of somebody else ended with %v", i, err)
			}
		}
		time.Sleep(time.Second)
		if got := watcher.values("user count"); got[len(got)-1] != "2" {
			t.Errorf("the last count is %s, want 2", got[len(got)-1])
		}
		// It may come again at once, and then lingers as always.
		again := b.open("id=" + idA)
		b.wantUsers("lobby", 3)
		again.cancel()
		time.Sleep(time.Minute - 1)
		b.wantUsers("lobby", 3)
		time.Sleep(time.Nanosecond)
		b.wantUsers("lobby", 2)
	})
}

// A page says goodbye without knowing whether it is closed or loaded again: with a grace, it is gone unless it is back
// before, directly, behind a proxy that keeps its old stream open, and by polls.
func TestLeaveWithGrace(t *testing.T) {
	inBubble(t, web.Options{Linger: 2 * time.Second}, func(t *testing.T, b *bubble) {
		for _, tt := range []struct {
			name, header, value string
			back                func(room string)
		}{
			{"stream", "X-None", "", func(room string) { b.open("id=" + idA + "&room=" + room) }},
			{"proxied-stream", "Via", "1.1 proxy", func(room string) {
				b.open("id="+idA+"&room="+room, "Via", "1.1 proxy")
				b.do("POST", "/alive", `{"room":"`+room+`","ids":["`+idA+`"]}`)
			}},
			{"poll", "Via", "1.1 proxy", func(room string) { b.do("GET", "/events?poll=1&wait=0&id="+idA+"&room="+room, "", "Via", "1.1 proxy") }},
			{"answer", "Via", "1.1 proxy", func(room string) { b.do("POST", "/alive", `{"room":"`+room+`","ids":["`+idA+`"]}`) }},
		} {
			room := tt.name
			goodbye := func(grace string) answer {
				return b.do("POST", "/leave", `{"room":"`+room+`","ids":["`+idA+`"],"grace":`+grace+`}`)
			}
			watcher := b.open("room=" + room)
			old := b.open("id="+idA+"&room="+room, tt.header, tt.value)
			b.do("POST", "/alive", `{"room":"`+room+`","ids":["`+idA+`"]}`)
			if a := goodbye("1"); a.StatusCode != 204 {
				t.Fatalf("%s: got %s", tt.name, a.Status)
			}
			time.Sleep(900 * time.Millisecond)
			tt.back(room)
			if tt.header == "X-None" {
				old.cancel()
			}
			time.Sleep(5 * time.Second)
			watcher.wantCounts("1", "2")
			goodbye("1")
			time.Sleep(1100 * time.Millisecond)
			watcher.wantCounts("1", "2", "1")
			for _, bad := range []string{"-1", "6", `"1"`} {
				if a := goodbye(bad); a.StatusCode != 400 {
					t.Errorf("grace %s: got %s, want 400", bad, a.Status)
				}
			}
		}
	})
}

// A goodbye while the id lingers takes it out at once.
func TestLeaveWhileLingering(t *testing.T) {
	inBubble(t, web.Options{Linger: time.Minute}, func(t *testing.T, b *bubble) {
		watcher := b.open("")
		time.Sleep(time.Second)
		b.open("id=" + idA).cancel()
		b.wantUsers("lobby", 2)
		time.Sleep(time.Second)
		b.do("POST", "/leave", `{"room":"lobby","ids":["`+idA+`","`+idB+`"]}`)
		b.wantUsers("lobby", 1)
		watcher.wantCounts("1", "2", "1")
	})
}

// No silence is longer than the heartbeat: a comment, or io:ping for who gave an id.
func TestHeartbeat(t *testing.T) {
	inBubble(t, web.Options{Heartbeat: 10 * time.Second}, func(t *testing.T, b *bubble) {
		plain, named := b.open("room=a"), b.open("room=b&id="+idA)
		begin := time.Now()
		time.Sleep(65 * time.Second)
		var pings []time.Time
		for _, block := range named.got() {
			if block.Name == sse.Ping {
				pings = append(pings, block.at)
			}
		}
		for name, beats := range map[string][]time.Time{"comment": plain.comments, "ping": pings} {
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
		plain.wantCounts("1")
	})
}

// A reader that does not read is given up, and not counted any more.
func TestStalledReader(t *testing.T) {
	inBubble(t, web.Options{Heartbeat: 10 * time.Second}, func(t *testing.T, b *bubble) {
		conn := dial(t, b)
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.wantUsers("lobby", 1)
		time.Sleep(30 * time.Second)
		b.wantUsers("lobby", 0)
		metrics := httptest.NewRecorder()
		b.app.Admin().ServeHTTP(metrics, httptest.NewRequest("GET", "/metrics", nil))
		if want := `headcount_streams_ended_total{reason="stalled"} 1`; !strings.Contains(metrics.Body.String(), want) {
			t.Errorf("the metrics lack %s", want)
		}
	})
}

// Drain ends every stream cleanly within its time, tells each when to come back, takes
// no new ones, and changes nobody's count.
func TestDrain(t *testing.T) {
	const streams = 50
	inBubble(t, web.Options{Drain: 10 * time.Second}, func(t *testing.T, b *bubble) {
		var all []*stream
		for i := range streams {
			all = append(all, b.open("id="+idA+strconv.Itoa(i)))
		}
		time.Sleep(time.Minute)
		begin := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- b.app.Drain(t.Context()) }()
		time.Sleep(time.Millisecond)
		if a := b.do("GET", "/readyz", ""); a.StatusCode != 503 {
			t.Errorf("/readyz says %s while draining, want 503", a.Status)
		}
		refused := b.do("GET", "/events", "")
		refused.wantError(t, 503)
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
			if err := s.ended(); err != io.EOF {
				t.Errorf("stream %d ended with %v, want a clean end", i, err)
			}
			got := s.got()
			retries[got[len(got)-1].Retry] = true
			if counts := s.values("user count"); counts[len(counts)-1] != strconv.Itoa(streams) {
				t.Errorf("stream %d was told %s users at the end, want %d", i, counts[len(counts)-1], streams)
			}
		}
		if len(retries) < streams/2 || retries[""] {
			t.Errorf("got retries %v, want a random one each", retries)
		}
		if err := b.app.Drain(t.Context()); err == nil {
			t.Error("a second Drain succeeded")
		}
	})
}

// A reader that does not read cannot keep Drain from ending.
func TestDrainWithStalledReader(t *testing.T) {
	inBubble(t, web.Options{Drain: 5 * time.Second}, func(t *testing.T, b *bubble) {
		conn := dial(t, b)
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		healthy := b.open("")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if err := b.app.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 5*time.Second {
			t.Errorf("got %v after %v, want the end of the time after 5 s", err, time.Since(begin))
		}
		if err := healthy.ended(); err != io.EOF {
			t.Errorf("the healthy stream ended with %v, want a clean end", err)
		}
	})
}

func TestDrainOfNobody(t *testing.T) {
	inBubble(t, web.Options{Drain: 10 * time.Second}, func(t *testing.T, b *bubble) {
		begin := time.Now()
		if err := b.app.Drain(t.Context()); err != nil || time.Since(begin) > 0 {
			t.Errorf("got %v after %v, want nothing at once", err, time.Since(begin))
		}
	})
}

// What a cursor missed comes with header and query alike; what is no cursor is a gap.
func TestResume(t *testing.T) {
	inBubble(t, web.Options{Token: "secret"}, func(t *testing.T, b *bubble) {
		emit := func(n int) {
			a := b.do("POST", "/emit", fmt.Sprintf(`{"event":"news","data":%d}`, n), "Authorization", "Bearer secret")
			if a.StatusCode != 200 {
				t.Fatalf("got %s %s", a.Status, a.body)
			}
		}
		s := b.open("")
		emit(1)
		var cursor string
		for _, block := range s.got() {
			cursor = block.ID
		}
		s.cancel()
		emit(2)
		emit(3)
		for name, s := range map[string]*stream{
			"header":            b.open("", "Last-Event-ID", cursor),
			"query":             b.open("lastEventId=" + cursor),
			"header, not query": b.open("lastEventId=rubbish", "Last-Event-ID", cursor),
		} {
			if got := strings.Join(s.values("news"), " "); got != "2 3" || len(s.values(sse.Gap)) > 0 {
				t.Errorf("%s: got news %s and gaps %v, want 2 3 and none", name, got, s.values(sse.Gap))
			}
		}
		for _, query := range []string{"rubbish", "%zz", "%", "17;DROP", "%00", "%ff&poll=0"} {
			lost := b.open("lastEventId=" + query)
			if got := strings.Join(lost.values("news"), " "); got != "1 2 3" || strings.Join(lost.values(sse.Gap), "") != `{"missed":null}` {
				t.Errorf("%s: got news %s and gaps %v, want all and a gap", query, got, lost.values(sse.Gap))
			}
		}
	})
}

// FuzzSubscription: whatever the query is, the answer is a valid subscription or one
// sentence.
func FuzzSubscription(f *testing.F) {
	for _, q := range []string{
		"", "room=a&id=abcdefgh", "stream=messages", "room=", "room=%00", "room=%ff", "id=short", "id=",
		"id=abcdefgh&poll=1&lastEventId=x.1.x.1", "poll=2", "%", ";", "a=b;c=d", "room=a&room=b&stream=c",
	} {
		f.Add(q, "")
		f.Add(q, "abcdefgh.1.abcd.2")
	}
	f.Fuzz(func(t *testing.T, query, lastEventID string) {
		room, id, cursor, _, err := web.ParseSubscription(query, lastEventID)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error is more than a line: %q", err)
			}
			return
		}
		if err := sse.CheckRoom(room); err != nil {
			t.Errorf("got room %q: %v", room, err)
		}
		if err := sse.CheckClientID(id); id != "" && err != nil {
			t.Errorf("got id %q: %v", id, err)
		}
		if !utf8.ValidString(room) {
			t.Errorf("got room %q, want UTF-8", room)
		}
		if lastEventID != "" && cursor != lastEventID {
			t.Errorf("got cursor %q, want the header's %q", cursor, lastEventID)
		}
	})
}
