package load

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestHistogramStaysWithinItsBuckets(t *testing.T) {
	for ns := int64(0); ns < 1<<40; ns += 1 + ns/50 {
		got := highestIn(bucketOf(ns))
		if got < ns || got > ns+ns/64+1 {
			t.Fatalf("highest duration in the bucket of %d ns: got %d", ns, got)
		}
	}
	var h histogram
	for ns := range int64(1000) {
		h.add(ns * 1000)
	}
	for _, row := range []struct {
		q    float64
		want int64
	}{{0.5, 499_000}, {0.99, 989_000}, {1, 999_000}} {
		if got := h.quantile(row.q); got < row.want || got > row.want+row.want/50 {
			t.Errorf("quantile %g: got %d, want %d", row.q, got, row.want)
		}
	}
}

func TestParseEvent(t *testing.T) {
	for _, row := range []struct {
		name, block string
		want        event
	}{
		{"count", "id: 7\nevent: user count\ndata: 42", event{kind: count, value: 42}},
		{"name after data, as r3labs has it", "id: \ndata: 3\nevent: user count", event{kind: count, value: 3}},
		{"measured", "event: news\ndata: {\"t\":12,\"n\":3,\"pad\":\"x\"}", event{kind: measured, value: 3, sent: 12}},
		{"inside an envelope", "\r\ndata: {\"push\":{\"pub\":{\"data\":{\"t\":12,\"n\":3}}}}", event{kind: measured, value: 3, sent: 12}},
		{"gap", "event: io:gap\ndata: {\"missed\":9}", event{kind: gap, value: 9}},
		{"gap of unknown size", "event: io:gap\ndata: {\"missed\":null}", event{kind: gap, value: -1}},
		{"comment", ": still here", event{}},
		{"retry", "retry: 2140", event{}},
		{"other event", "event: io:hello\ndata: {\"id\":\"x\"}", event{}},
	} {
		if got := parseEvent([]byte(row.block)); got != row.want {
			t.Errorf("%s: got %+v, want %+v", row.name, got, row.want)
		}
	}
	if got, want := parsePacket([]byte(`42["user count",17]`)), (event{kind: count, value: 17}); got != want {
		t.Errorf("packet with count: got %+v, want %+v", got, want)
	}
	if got, want := parsePacket([]byte(`42["news",{"t":5,"n":6}]`)), (event{kind: measured, value: 6, sent: 5}); got != want {
		t.Errorf("measured packet: got %+v, want %+v", got, want)
	}
}

// TestPieces cuts the same response into pieces of every kind; it must always be understood in the same way.
func TestPieces(t *testing.T) {
	var body strings.Builder
	for n := range 50 {
		fmt.Fprintf(&body, "id: %d\nevent: news\ndata: {\"t\":1,\"n\":%d,\"pad\":\"%s\"}\n\n", n, n, strings.Repeat("x", n))
		fmt.Fprintf(&body, "event: user count\ndata: %d\n\n", n)
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	plain := head + "\r\n" + body.String()
	chunked := head + "Transfer-Encoding: chunked\r\n\r\n"
	for rest := body.String(); rest != ""; {
		n := min(1+rand.IntN(200), len(rest))
		chunked += fmt.Sprintf("%x\r\n%s\r\n", n, rest[:n])
		rest = rest[n:]
	}
	var frames []byte
	for _, text := range strings.Split(strings.TrimSpace(body.String()), "\n\n") {
		text = strings.TrimPrefix(text[strings.Index(text, "data: "):], "data: ")
		name := "news"
		if text[0] != '{' {
			name = "user count"
		}
		packet := fmt.Sprintf("42[%q,%s]", name, text)
		if len(packet) < 126 {
			frames = append(frames, 0x81, byte(len(packet)))
		} else {
			frames = append(frames, 0x81, 126, 0, byte(len(packet)))
		}
		frames = append(frames, packet...)
	}
	webSocket := "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x0240" + string(frames)

	for name, response := range map[string]string{"plain": plain, "chunked": chunked, "websocket": webSocket} {
		for _, largest := range []int{1, 2, 7, 300, 1 << 20} {
			g := &Generator{want: -1, config: Config{WebSocket: name == "websocket"}}
			s := &stream{phase: inHeader, count: -1}
			for rest := []byte(response); len(rest) > 0; {
				n := min(1+rand.IntN(largest), len(rest))
				if err := g.take(s, append([]byte(nil), rest[:n]...), 5); err != nil {
					t.Fatalf("%s in pieces of up to %d: %v", name, largest, err)
				}
				rest = rest[n:]
			}
			if g.delivered != 50 || g.events != 100 || s.count != 49 || s.fate.silent != 0 || s.fate.duplicates != 0 {
				t.Errorf("%s in pieces of up to %d: got %d measured of %d events, count %d, %+v",
					name, largest, g.delivered, g.events, s.count, s.fate)
			}
		}
	}
}

func TestFate(t *testing.T) {
	s := &stream{next: 10}
	for _, n := range []int64{10, 11, 14} {
		s.note(n)
	}
	if s.fate.silent != 2 {
		t.Errorf("events missed without a word: got %d, want 2", s.fate.silent)
	}
	s.fate.announced, s.fate.announcing = true, 5
	s.note(20)
	if s.fate.told != 5 || s.fate.wrong != 0 {
		t.Errorf("after an announced gap of 5: got %+v", s.fate)
	}
	s.note(20)
	if s.fate.duplicates != 1 {
		t.Errorf("after a repeated event: got %+v", s.fate)
	}
	s.fate.announced, s.fate.announcing = true, 3
	s.note(22)
	if s.fate.wrong != 1 {
		t.Errorf("after an announced gap of 3 that was one of 1: got %+v", s.fate)
	}
}

// TestGenerator has real sockets: a server that counts, in the plainest way.
func TestGenerator(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 1024))
				fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\nevent: user count\ndata: 3\n\ndata: {\"t\":1,\"n\":0}\n\n")
				_, _ = conn.Read(make([]byte, 1))
			}()
		}
	}()

	pipe, _, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	g, err := New(int(pipe.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		command Command
		want    func(Reply) bool
	}{
		{Command{Do: "configure", Config: Config{Port: listener.Addr().(*net.TCPAddr).Port, Path: "/"}}, func(Reply) bool { return true }},
		{Command{Do: "open", N: 3, Window: 2, Want: 3, For: 5 * time.Second}, func(r Reply) bool { return r.Open == 3 }},
		{Command{Do: "know", For: 5 * time.Second}, func(r Reply) bool { return r.Knowing == 3 && r.KnewAt > 0 }},
		{Command{Do: "await", N: 3, For: 5 * time.Second}, func(r Reply) bool { return r.Delivered == 3 }},
		{Command{Do: "close", N: 1, Want: 2}, func(r Reply) bool { return r.Open == 2 && r.Dropped == 0 && r.Knowing == 0 }},
		{Command{Do: "churn", PerSecond: 100, Window: 10, For: 100 * time.Millisecond}, func(r Reply) bool { return r.Open == 2 && r.Replaced >= 8 }},
	}
	for _, step := range steps {
		r := g.carryOut(step.command)
		if !r.Done || r.Error != "" || !step.want(r) {
			t.Fatalf("%s: got %+v", step.command.Do, r)
		}
	}
	if r := g.carryOut(Command{Do: "know", For: 10 * time.Millisecond}); r.Done {
		t.Errorf("know with a count that nobody heard: got done")
	}
}
