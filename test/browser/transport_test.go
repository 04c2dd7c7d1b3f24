package browser

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headcount/test/rig"
)

// A script is an origin that answers GET /events word by word as a test wants it, for what the real server does only
// where the network is bad.
type script struct {
	*httptest.Server

	mu       sync.Mutex
	requests []url.Values // the queries of GET /events
	times    []time.Time  // when they came
	posts    []string     // path and body of all POSTs
}

// newScript calls answer for the nth GET /events, from 0.
func newScript(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *script {
	t.Helper()
	s := &script{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/io.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(rig.Root(), "assets", "io.js"))
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		n := len(s.requests)
		s.requests = append(s.requests, r.URL.Query())
		s.times = append(s.times, time.Now())
		s.mu.Unlock()
		answer(n, w, r)
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read POST: %v", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.posts = append(s.posts, r.URL.Path+" "+string(body))
		w.WriteHeader(http.StatusNoContent)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	return s
}

// say writes parts of a stream, each at once.
func say(w http.ResponseWriter, parts ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, part := range parts {
		io.WriteString(w, part)
		http.NewResponseController(w).Flush()
	}
}

func hello(ping int, heartbeat float64) string {
	return fmt.Sprintf("retry: 2000\n\nid: h\nevent: io:hello\ndata: {\"id\":\"x\",\"ping\":%d,\"heartbeat\":%g}\n\n", ping, heartbeat)
}

// listen opens the client on the script.
func (s *script) listen(t *testing.T) *tab {
	t.Helper()
	tb := newChrome(t).open(s.URL + "/test/client.html")
	listen(tb)
	return tb
}

// listen opens the client in a tab; everything it hears goes to the console.
func listen(tb *tab) {
	tb.t.Helper()
	eval[bool](tb, `
		window.socket = io()
		socket.on('connect', () => console.log('connected'))
		for (const name of ['disconnect', 'gap']) socket.on(name, (data) => console.log(name, JSON.stringify(data)))
		socket.on('connect_error', (error) => console.log('connect_error', error.message))
		socket.onAny((name, data) => console.log(name, JSON.stringify(data)))
		true`)
}

func (s *script) request(t *testing.T, n int) url.Values {
	t.Helper()
	var query url.Values
	rig.Wait(t, slow, fmt.Sprintf("request %d", n), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.requests) <= n {
			return false
		}
		query = s.requests[n]
		return true
	})
	return query
}

// Pieces end anywhere: within a character, a line, an event.
func TestPieces(t *testing.T) {
	stream := hello(0, 10) +
		": a comment\n\nid: 1\nevent: news\ndata: {\"a\":\ndata: \"人😀\"}\n\n" +
		"id:1\ndata:\"without a space\"\nevent:x\n\n" +
		"id: 2\nevent: io:gap\ndata: {\"missed\":null}\n\n" +
		"event: unknown to all\nid: 3\ndata: [1]\nwhatever: this is\n\nid: 3\nevent: end\ndata: 0\n\nid: 4\nevent: cut off\ndata: 1\n"
	s := newScript(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n > 0 {
			<-r.Context().Done()
			return
		}
		say(w, stream)
	})
	tb := newChrome(t).open(s.URL + "/test/client.html")
	// The network joins what is written apart, so the response is cut in the page: each byte comes alone.
	eval[bool](tb, `
		const real = fetch
		window.fetch = async (...args) => {
			window.fetch = real
			const response = await real(...args)
			const bytes = new Uint8Array(await response.arrayBuffer())
			let i = 0
			const body = new ReadableStream({
				pull: (stream) => (i < bytes.length ? stream.enqueue(bytes.subarray(i, ++i)) : stream.close())
			})
			return new Response(body, response)
		}
		true`)
	listen(tb)
	tb.expect(slow, `disconnect "transport close"`)
	want := []string{
		"connected", `news {"a":"人😀"}`, `x "without a space"`, `gap {"missed":null}`,
		"unknown to all [1]", "end 0", `disconnect "transport close"`,
	}
	if got := tb.lines(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("heard\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	first, second := s.request(t, 0), s.request(t, 1)
	if first.Get("lastEventId") != "" || second.Get("lastEventId") != "3" {
		t.Errorf("came with the cursors %q and %q, want none and 3", first.Get("lastEventId"), second.Get("lastEventId"))
	}
	if first.Get("id") != second.Get("id") || first.Get("room") != "lobby" {
		t.Errorf("came as %v and %v, want the same id", first, second)
	}
}

// What came together with an event whose listener leaves belongs to a connection that is over.
func TestLeavingInAListener(t *testing.T) {
	s := newScript(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 0 {
			say(w, hello(0, 10)+"id: 1\nevent: a\ndata: 1\n\nid: 2\nevent: b\ndata: 2\n\n")
		} else {
			say(w, hello(0, 10)+"id: 3\nevent: c\ndata: 3\n\n")
		}
		<-r.Context().Done()
	})
	tb := newChrome(t).open(s.URL + "/test/client.html")
	listen(tb)
	eval[bool](tb, `socket.once('a', () => socket.disconnect().connect()); true`)
	tb.expect(slow, "c 3")
	want := "connected\ndisconnect \"io client disconnect\"\na 1\nconnected\nc 3"
	if got := strings.Join(tb.lines(), "\n"); got != want {
		t.Errorf("heard\n%s\nwant\n%s", got, want)
	}
	if s.request(t, 0).Get("id") == s.request(t, 1).Get("id") {
		t.Error("came back with the id that has left")
	}
}

// A server that wants its pings answered is answered: on the hello, and then once in so many seconds, whatever comes.
// One that does not is left in peace.
func TestAlive(t *testing.T) {
	for _, test := range []struct{ ping, posts int }{{1, 3}, {0, 0}} {
		t.Run(fmt.Sprint("ping ", test.ping), func(t *testing.T) {
			s := newScript(t, func(n int, w http.ResponseWriter, r *http.Request) {
				say(w, hello(test.ping, 10))
				for i := range 25 { // 2.5 s of events
					select {
					case <-time.After(100 * time.Millisecond):
						say(w, fmt.Sprintf("id: %d\nevent: news\ndata: %d\n\n", i, i))
					case <-r.Context().Done():
					}
				}
				<-r.Context().Done()
			})
			begin := time.Now()
			tb := s.listen(t)
			tb.expect(slow, "news 24")
			want := fmt.Sprintf(`/alive {"room":"lobby","ids":["%s"]}`, s.request(t, 0).Get("id"))
			posts := func() []string {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.posts
			}
			rig.Wait(t, slow, "answers", func() bool { return len(posts()) >= test.posts })
			for _, got := range posts() {
				if got != want {
					t.Errorf("posted %s, want %s", got, want)
				}
			}
			// The goodbye comes after all answers.
			eval[bool](tb, `socket.disconnect(); true`)
			rig.Wait(t, slow, "the goodbye", func() bool {
				p := posts()
				return len(p) > 0 && p[len(p)-1] == strings.Replace(want, "/alive", "/leave", 1)
			})
			most := test.ping * (1 + int(time.Since(begin)/time.Second)) // a busy machine takes longer, and so hears more pings
			if got := len(posts()) - 1; got < test.posts || got > most {
				t.Errorf("%d answers, want %d to %d", got, test.posts, most)
			}
		})
	}
}

// Answers that end an EventSource for good are failures like any other here, and each says what it was.
func TestFailures(t *testing.T) {
	html := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<h1>Please log in to the network</h1>")
	}
	refuse := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, `{"error":"the sentence of the server"}`)
	}
	nothing := func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }
	answers := []func(w http.ResponseWriter){refuse, refuse, html, html, html, nothing}
	s := newScript(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n < len(answers) {
			answers[n](w)
			return
		}
		say(w, hello(0, 10))
		<-r.Context().Done()
	})
	tb := s.listen(t)
	tb.expect(slow, "connected")
	want := []string{"connect_error the sentence of the server", "connect_error 200 text/html", "connect_error 204 null", "connected"}
	if got := tb.lines(); !slices.Equal(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
	// A stream does not say why it failed: the poll behind it does, at once.
	var polls []string
	for i := range len(answers) + 1 {
		polls = append(polls, s.request(t, i).Get("poll"))
	}
	if got, want := strings.Join(polls, ","), ",1,,1,,1,"; got != want {
		t.Errorf("asked for polls: %s, want %s", got, want)
	}
	// The delays: Retry-After and more, else capped, then jittered: 0.5 to 1 s at first, then doubled.
	const least = 50 * time.Millisecond // by which clocks may differ
	for i, bounds := range [][2]time.Duration{{0, time.Second}, {2500 * time.Millisecond, 4 * time.Second}, {0, time.Second}, {time.Second, 3 * time.Second}, {0, time.Second}, {2 * time.Second, 5 * time.Second}} {
		if got := s.times[i+1].Sub(s.times[i]); got < bounds[0]-least || got > bounds[1] {
			t.Errorf("came back %v after failure %d, want %v to %v", got, i, bounds[0], bounds[1])
		}
	}
}

// A stream that has gone silent is given up after 2.5 heartbeats, and looked for again.
func TestSilence(t *testing.T) {
	t.Parallel() // it mostly waits
	server := rig.Start(t, "-heartbeat", "400ms")
	tb := newChrome(t).open(server.URL + "/test/lesson.html")
	tb.expect(slow, "1")
	eval[bool](tb, `socket.on('disconnect', (reason) => console.log(reason)); true`)
	// Heartbeats keep it alive.
	begin := time.Now()
	rig.Wait(t, slow, "3 seconds to pass", func() bool { return time.Since(begin) > 3*time.Second })
	if lines := tb.lines(); len(lines) != 1 {
		t.Errorf("logged %q while the server sent heartbeats", lines)
	}

	if err := syscall.Kill(server.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	tb.expect(5*time.Second, "ping timeout")
	if err := syscall.Kill(server.Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	tb.expect(slow, "1")
	rig.Wait(t, slow, "one user", func() bool { return server.Count("lobby") == 1 })
}

// The first delay is jittered too: pages that lost their server together do not come back together.
func TestFirstDelayIsJittered(t *testing.T) {
	s := newScript(t, func(n int, w http.ResponseWriter, r *http.Request) {
		say(w, hello(0, 10))
		if n >= 40 {
			<-r.Context().Done()
		}
	})
	tb := newChrome(t).open(s.URL + "/test/client.html")
	eval[bool](tb, `for (let i = 0; i < 20; i++) io('/room-' + i); true`)
	s.request(t, 39) // all 20, and all again
	s.mu.Lock()
	defer s.mu.Unlock()
	first, again := s.times[:20], s.times[20:40]
	if d := again[0].Sub(first[0]); d < 450*time.Millisecond {
		t.Errorf("the first came back after %v, want 0.5 s at least", d)
	}
	if spread := again[19].Sub(again[0]) - first[19].Sub(first[0]); spread < 200*time.Millisecond {
		t.Errorf("20 came back within %v more than they came in, want about 0.5 s", spread)
	}
}

// The back-off is not waited for when the browser hears that the network is back.
func TestOnline(t *testing.T) {
	t.Parallel() // it mostly waits
	failing := true
	var mu sync.Mutex
	s := newScript(t, func(n int, w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		fails := failing
		mu.Unlock()
		if fails {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		say(w, hello(0, 10))
		<-r.Context().Done()
	})
	tb := s.listen(t)
	s.request(t, 7) // four times both ways; now it would wait for 4 to 8 s
	rig.Wait(t, slow, "the fourth failure", func() bool { return len(tb.lines()) == 4 })
	mu.Lock()
	failing = false
	mu.Unlock()
	eval[bool](tb, `dispatchEvent(new Event('online'))`)
	tb.expect(2*time.Second, "connected")
}

func TestGapAfterRestart(t *testing.T) {
	server := rig.Start(t, "-token", token)
	tb := newChrome(t).open(server.URL + "/test/client.html")
	eval[bool](tb, `window.socket = io(); socket.on('gap', (gap) => console.log(JSON.stringify(gap))); socket.on('news', (data) => console.log(data)); true`)
	rig.Wait(t, slow, "connected", func() bool { return eval[bool](tb, `socket.connected`) })
	emit(t, server, "lobby", "news", "first")
	tb.expect(slow, "first")
	server.Restart()
	tb.expect(slow, `{"missed":null}`)
	emit(t, server, "lobby", "news", "second")
	tb.expect(slow, "second")
}

// The source is read by people, the built file by browsers: what is committed is served.
func TestServedClientIsBuiltOne(t *testing.T) {
	server := rig.Start(t)
	for _, name := range []string{"io.js", "io.mjs"} {
		answer, err := http.Get(server.URL + "/assets/" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		got, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(rig.Root(), "assets", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("the server's %s is not assets/%s", name, name)
		}
	}
}
