package browser

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"headcount/test/rig"
)

// lesson is the page of the lesson as people write it, with its own script tag.
const lesson = `<!doctype html><link rel="icon" href="data:,"><script src="%s"></script><script>
	const socket = io(); socket.on('user count', function (data) { console.log(data); });</script>`

// front is a reverse proxy of the server. If answer returns true, it has already answered the request.
func front(t *testing.T, server *rig.Server, answer func(w http.ResponseWriter, r *http.Request) bool) *httptest.Server {
	t.Helper()
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.Close)
	t.Cleanup(f.CloseClientConnections)
	return f
}

// The stream is the browser's own EventSource. Its events are in the EventStream panel of DevTools, which shows what
// this CDP event reports.
func TestEventStreamPanel(t *testing.T) {
	server := rig.Start(t, "-token", token)
	var mu sync.Mutex
	var events []string
	tb := newChrome(t).attach(chromedp.WithListener(func(event any) {
		if e, ok := event.(*network.EventEventSourceMessageReceived); ok {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e.EventName+" "+e.Data)
		}
	}))
	if _, err := chromedp.Call(tb.ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	tb.goTo(server.URL + "/test/lesson.html")
	tb.expect(slow, "1")
	eval[bool](tb, `socket.on('news', (data) => console.log(data)); true`)
	emit(t, server, "lobby", "news", `"hi"`)
	tb.expect(slow, "hi")
	mu.Lock()
	defer mu.Unlock()
	if !slices.Contains(events, "user count 1") || !slices.Contains(events, `news "hi"`) {
		t.Errorf("the panel shows %q, want the count and the news", events)
	}
}

// Session-replay scripts wrap fetch and read a clone of each response to its end. Such a script does not hold a
// stream.
func TestSessionReplay(t *testing.T) {
	server := rig.Start(t, "-token", token)
	tb := newChrome(t).open(server.URL + "/test/client.html")
	eval[bool](tb, `
		window.held = 0
		const real = fetch
		window.fetch = async (...args) => {
			const response = await real(...args)
			response.clone().text().then((text) => { held += text.length })
			const reader = response.clone().body?.getReader()
			const read = async () => { for (let piece; reader && !(piece = await reader.read()).done; ) held += piece.value.length }
			read()
			return response
		}
		window.socket = io()
		socket.on('user count', (count) => console.log(count))
		socket.on('news', (data) => console.log(data.n))
		true`)
	tb.expect(slow, "1")
	for i := range 20 {
		emit(t, server, "lobby", "news", fmt.Sprintf(`{"n":%d,"text":%q}`, i, strings.Repeat("x", 20_000)))
	}
	tb.expect(slow, "19")
	if held := eval[int](tb, `held`); held > 2000 {
		t.Errorf("the script holds %d bytes of 400,000 that the page got as events, want none", held)
	}
}

// Whatever Retry-After a server sends, one tab asks a few times in 5 s and never in a hot loop.
func TestRetryAfter(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, value := range []string{"Fri, 31 Dec 2099 23:59:59 GMT", "2592000", "99999999999999999999", "soon", "-1"} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", value)
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			s.listen(t)
			s.request(t, 0)
			begin := time.Now()
			rig.Wait(t, slow, "5 seconds to pass", func() bool { return time.Since(begin) > 5*time.Second })
			s.mu.Lock()
			defer s.mu.Unlock()
			if got := len(s.requests); got < 2 || got > 10 {
				t.Errorf("%d requests in 5 s, want 2 to 10: a stream and a poll, and again after 0.5 s, 1 s, 2 s at the earliest", got)
			}
		})
	}
}

// Under the path of a proxy that strips it, like nginx with a slash after the address, the page, its script, the count
// and the goodbye work.
func TestUnderPath(t *testing.T) {
	server := rig.Start(t)
	f := front(t, server, func(w http.ResponseWriter, r *http.Request) bool {
		path, ok := strings.CutPrefix(r.URL.Path, "/live/")
		if !ok {
			http.NotFound(w, r)
			return true
		}
		r.URL.Path = "/" + path
		return false
	})
	chrome := newChrome(t)
	tb := chrome.attach()
	tb.goTo(f.URL + "/live/")
	tb.shows(slow, "users", "1")
	tb.shows(slow, "way", "Live over a stream")
	if sheets := eval[int](tb, `document.styleSheets.length`); sheets == 0 {
		t.Error("the page has no style")
	}
	tb.faultless()
	second := chrome.attach()
	second.goTo(f.URL + "/live/?room=other")
	eval[bool](second, `(async () => {
		const { io } = await import('/live/assets/io.mjs')
		io('/room').on('user count', (count) => console.log('room ' + count))
		return true
	})()`)
	second.logs(slow, "room 1")
	if got := server.Count("room"); got != 1 {
		t.Errorf("/count says %d for the room, want 1", got)
	}
	tb.close()
	rig.Wait(t, gone, "nobody in the lobby", func() bool { return server.Count("lobby") == 0 })
}

// The page of the lesson works with its own script tag.
func TestLessonScript(t *testing.T) {
	server := rig.Start(t)
	f := front(t, server, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/lesson" {
			return false
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, lesson, "/socket.io/socket.io.js")
		return true
	})
	tb := newChrome(t).attach()
	tb.goTo(f.URL + "/lesson")
	tb.expect(slow, "1")
	tb.faultless()
}

// A filter that refuses every event stream lets polls through, because they are plain text.
func TestFilterOfType(t *testing.T) {
	server := rig.Start(t)
	proxy := front(t, server, func(http.ResponseWriter, *http.Request) bool { return false })
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up, err := http.NewRequestWithContext(r.Context(), r.Method, proxy.URL+r.URL.RequestURI(), r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		up.Header = r.Header.Clone()
		answer, err := http.DefaultTransport.RoundTrip(up)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
			http.Error(w, "forbidden by policy", http.StatusForbidden)
			return
		}
		for name, values := range answer.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.StatusCode)
		io.Copy(w, answer.Body)
	}))
	t.Cleanup(f.Close)
	t.Cleanup(f.CloseClientConnections)
	tb := newChrome(t).attach()
	begin := time.Now()
	tb.goTo(f.URL + "/")
	tb.shows(4*time.Second, "users", "1")
	t.Logf("counted %v after the page was asked for", time.Since(begin).Round(time.Millisecond))
	tb.shows(slow, "way", "Live by polling")
}

// Twenty rooms over HTTP/1.1 all show their counts, on one page and on each of three pages with rooms of their own.
// Nobody ever sees one of them leave, and the site stays usable.
func TestManyRooms(t *testing.T) {
	t.Parallel() // it mostly waits
	const rooms = 20
	for _, pages := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(pages, " pages"), func(t *testing.T) {
			t.Parallel()
			server := rig.Start(t)
			box := newBox(t, server, passes)
			chrome := newChrome(t)
			begin := time.Now()
			var tabs []*tab
			for page := range pages {
				tb := chrome.open(box.URL + "/test/client.html")
				eval[bool](tb, fmt.Sprintf(`
					window.counts = {}
					for (let i = %d; i < %d; i++) io('/room-' + i).on('user count', (count) => (counts[i] = [...(counts[i] ?? []), count]))
					true`, page*rooms, (page+1)*rooms))
				tabs = append(tabs, tb)
			}
			for _, tb := range tabs {
				rig.Wait(t, slow, "all counts", func() bool { return eval[int](tb, `Object.keys(counts).length`) == rooms })
			}
			t.Logf("%d rooms on each of %d pages have their first count after %v", rooms, pages, time.Since(begin).Round(time.Millisecond))
			var longest time.Duration
			tick := time.NewTicker(50 * time.Millisecond) // else it would take the processor from the others
			defer tick.Stop()
			for begin := time.Now(); time.Since(begin) < 12*time.Second; <-tick.C {
				for _, tb := range tabs {
					asked := time.Now()
					eval[string](tb, `fetch('/healthz?' + Math.random()).then((answer) => answer.text())`)
					longest = max(longest, time.Since(asked))
				}
				for i := range pages * rooms {
					if got := server.Count(fmt.Sprintf("room-%d", i)); got != 1 {
						t.Fatalf("/count says %d for room %d after %v, want 1", got, i, time.Since(begin))
					}
				}
			}
			open, most, _, _ := box.seen()
			t.Logf("the slowest request of the site took %v; %d streams at once", longest.Round(time.Millisecond), most)
			if longest > 2*time.Second {
				t.Errorf("a request of the site took %v, want 2 s at most", longest)
			}
			if open != 3 || most > 3 {
				t.Errorf("%d streams are open, %d at most; want 3", open, most)
			}
			for _, tb := range tabs {
				for i, counts := range eval[map[string][]int](tb, `counts`) {
					if !slices.Equal(counts, []int{1}) {
						t.Errorf("room %s heard the counts %v, want 1 alone", i, counts)
					}
				}
			}
		})
	}
}

// If one page loads the client twice, as script and as module, it is one user. It still is after the script has run
// again.
func TestLoadedTwice(t *testing.T) {
	server := rig.Start(t)
	tb := newChrome(t).open(server.URL + "/test/client.html")
	eval[bool](tb, `(async () => {
		io().on('user count', (count) => console.log('script ' + count))
		const module = await import('/assets/io.mjs')
		module.io().on('user count', (count) => console.log('module ' + count))
		const again = document.createElement('script')
		again.src = '/assets/io.js?again'
		await new Promise((resolve) => { again.onload = resolve; document.head.append(again) })
		io().on('user count', (count) => console.log('again ' + count))
		return true
	})()`)
	for _, line := range []string{"script 1", "module 1", "again 1"} {
		tb.logs(slow, line)
	}
	if got := server.Count("lobby"); got != 1 {
		t.Errorf("/count says %d, want 1", got)
	}
}

// Code that people who know Socket.IO write works.
func TestSocketIOHabits(t *testing.T) {
	server := rig.Start(t, "-token", token)
	tb := newChrome(t).open(server.URL + "/test/client.html")
	if got := eval[string](tb, `(async () => {
		const seen = []
		const socket = io.connect(location.host).on('news', () => seen.push('news')).on('more', () => seen.push('more'))
		await new Promise((resolve) => socket.once('connect', resolve))
		if (!socket.connected || !socket.id) return 'the chain is not the socket'
		socket.close()
		if (socket.connected) return 'close does not close'
		socket.open()
		await new Promise((resolve) => socket.once('connect', resolve))
		window.undo = socket.on('end', () => console.log(seen.join()))
		return 'ok'
	})()`); got != "ok" {
		t.Fatal(got)
	}
	for _, name := range []string{"news", "more", "end"} {
		emit(t, server, "lobby", name, "1")
	}
	tb.expect(slow, "news,more")
	tb.faultless()
}

// If the clock is set back by 3 minutes, nobody is dropped and the leader stays the same.
func TestClockSetBack(t *testing.T) {
	t.Parallel() // it mostly waits
	server := rig.Start(t)
	chrome := newChrome(t)
	var tabs []*tab
	for i := range 3 {
		tb := chrome.open(server.URL + "/test/lesson.html")
		tb.expect(slow, fmt.Sprint(i+1))
		tabs = append(tabs, tb)
	}
	for _, tb := range tabs {
		eval[bool](tb, `const real = Date.now; Date.now = () => real() - 180000; true`)
	}
	begin := time.Now()
	rig.Wait(t, 90*time.Second, "65 seconds to pass", func() bool {
		if got := server.Count("lobby"); got != 3 {
			t.Fatalf("/count says %d after %v, want 3", got, time.Since(begin))
		}
		return time.Since(begin) > 65*time.Second // a lease is 55 s
	})
}
