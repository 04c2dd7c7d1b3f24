package admin_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/admin"
	"headcount/internal/bubble"
	"headcount/internal/engine"
	"headcount/internal/httpapi"
	"headcount/internal/page"
)

// options are the options of a node in a test.
type options struct {
	MaxStreams    int
	Drain         time.Duration
	Name, Version string
}

// rig is a node with its public and its private handler.
type rig struct {
	*bubble.Bubble
	engine *engine.Engine
	admin  *admin.Admin
}

// observer charts the count of each room, as the server does.
type observer struct {
	*admin.Metrics
	pages *page.Pages
}

func (o observer) Counted(room string, users int) { o.pages.Counted(room, users) }

// start returns a node that runs until stop is called.
func start(t testing.TB, opt options) (e *engine.Engine, public http.Handler, private *admin.Admin, stop func()) {
	t.Helper()
	metrics := admin.NewMetrics()
	pages, err := page.New(page.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err = engine.New(engine.Options{MaxStreams: opt.MaxStreams, Drain: opt.Drain, Observer: observer{metrics, pages}, Writer: engine.Portable})
	if err != nil {
		t.Fatal(err)
	}
	anybody := func(*http.Request, httpapi.Access) error { return nil }
	public = httpapi.New(httpapi.Options{Engine: e, Authorize: anybody, Observer: metrics})
	private = admin.New(admin.Options{
		Node: e, Metrics: metrics, Pages: pages, Heartbeat: 10 * time.Second, Name: opt.Name, Version: opt.Version, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	running.Go(func() { private.Run(ctx) })
	return e, public, private, func() {
		cancel()
		running.Wait()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// inBubble runs the test in a bubble with its own node. The second rig sends its requests to the admin listener.
func inBubble(t *testing.T, opt options, test func(t *testing.T, b, admin *rig)) {
	t.Helper()
	opt.Name = cmp.Or(opt.Name, "headcount.test")
	synctest.Test(t, func(t *testing.T) {
		e, public, private, stop := start(t, opt)
		t.Cleanup(stop)
		test(t, &rig{bubble.Start(t, public), e, private}, &rig{bubble.Start(t, private), e, private})
	})
}

// watch opens /stats/events.
func (b *rig) watch(query string) *bubble.Stream { return b.OpenAt("/stats/events?" + query) }

func askAdmin(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	// A stream or a profile that should have been refused must end soon.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r := httptest.NewRequest("GET", path, nil).WithContext(ctx)
	r.Host = "127.0.0.1:8081"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// firefox is the Accept header of Firefox for a page.
const firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// Programs get /stats as JSON, and browsers get the page.
func TestStatsAsWhat(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b, _ *rig) {
		admin := b.admin
		for accept, want := range map[string]string{
			"": "application/json", "*/*": "application/json", "application/json": "application/json",
			"application/json, text/html;q=0.9": "application/json", firefox: "text/html; charset=UTF-8", "text/html": "text/html; charset=UTF-8",
		} {
			w := askAdmin(admin, "/stats", "Accept", accept)
			if got := w.Header().Get("Content-Type"); w.Code != 200 || got != want {
				t.Errorf("Accept %q: got %d %q, want %q", accept, w.Code, got, want)
			}
			if w.Header().Get("Vary") != "Accept" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("Accept %q: got header %v", accept, w.Header())
			}
		}
		if w := askAdmin(admin, "/"); w.Code != http.StatusFound || w.Header().Get("Location") != "stats" {
			t.Errorf("/: got %d to %q, want 302 to stats", w.Code, w.Header().Get("Location"))
		}
	})
}

// Current values are counted, and totals are listed by reason.
func TestStats(t *testing.T) {
	opt := options{MaxStreams: 3, Version: "headcount 1"}
	inBubble(t, opt, func(t *testing.T, b, admin *rig) {
		b.Open("room=b")
		b.Open("room=a")
		gone := b.Open("room=a")
		b.Do("GET", "/events", "") // one too many
		gone.Cancel()
		b.Do("POST", "/emit", "event=news&data=hi", "Authorization", "Bearer secret", "Content-Type", "application/x-www-form-urlencoded")
		time.Sleep(7 * time.Second)
		b.Open("room=c").Cancel()
		var got map[string]any
		if err := json.Unmarshal([]byte(admin.Do("GET", "/stats", "").Body), &got); err != nil {
			t.Fatal(err)
		}
		if got["trend"].(map[string]any)["points"] == nil {
			t.Errorf("no points: %v", got["trend"])
		}
		points := fmt.Sprint(got["trend"].(map[string]any)["points"])
		if !regexp.MustCompile(`^\[\[2 2\] \[[23] 2\]\]$`).MatchString(points) {
			t.Errorf("got points %s", points)
		}
		for key, want := range map[string]string{
			"version": "headcount 1", "writer": "stream", "uptime_seconds": "7", "ready": "ok",
			"users": "2", "streams": "2", "max_streams": "3", "by_transport": "map[epoll:0 epoll_tls:0 poll:0 stream:2]",
			"rooms": "2", "by_room": "[map[room:a users:1] map[room:b users:1]]", "emitted": "1",
			"ended": "map[answered:0 ended:0 gone:2 stalled:0]", "refused": "map[max_streams:1]",
		} {
			if got := fmt.Sprint(got[key]); got != want {
				t.Errorf("%s: got %s, want %s", key, got, want)
			}
		}
		if events := got["history"].(map[string]any)["events"]; events != 1.0 {
			t.Errorf("got %v events in the history, want 1", events)
		}
	})
}

// /stats?room= shows one room, and the node beside it.
func TestStatsOfARoom(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b, admin *rig) {
		one, all := admin.watch("room=news"), admin.watch("")
		b.Open("room=news")
		b.Open("room=news")
		b.Open("")
		b.Do("POST", "/emit", "event=news&room=news", "Content-Type", "application/x-www-form-urlencoded")
		time.Sleep(2 * time.Second)
		const want = `{"room":"news","users":2,"users_here":2,"streams":2,"by_transport":{"epoll":0,"epoll_tls":0,"poll":0,"stream":2},` +
			`"history":{"events":1,"bytes":`
		if got := one.Values("stats"); !strings.Contains(got[len(got)-1], `"users":3,"streams":3`) || !strings.Contains(got[len(got)-1], want) ||
			!strings.Contains(got[len(got)-1], `"events_per_second":0.1}`) {
			t.Errorf("got %s, want %s", got[len(got)-1], want)
		}
		if got := all.Values("stats"); strings.Contains(got[len(got)-1], `"room":{`) {
			t.Errorf("all rooms: got %s", got[len(got)-1])
		}
		if a := admin.Do("GET", "/stats?room=news", ""); !strings.Contains(a.Body, `"users_here": 2`) ||
			!strings.Contains(a.Body, "\n    \"joins_per_second\": 0.2,") || !regexp.MustCompile(`"trend": .*\[2,2\]\]\}`).MatchString(a.Body) {
			t.Errorf("got %s", a.Body)
		}
		if a := admin.Do("GET", "/stats?room=", ""); a.StatusCode != 400 {
			t.Errorf("no name: got %s", a.Status)
		}
		page := admin.Do("GET", "/stats?room=news", "", "Accept", firefox).Body
		for _, want := range []string{
			`data-room="news"`, `data-digits="1">2</span>`, `in <bdi>news</bdi> <span id="when">now</span>`, `<b id="joins">0.2</b>`, `Ended, in all rooms`, `<title>(2) news`, `<a href="stats?room=news">`, `<a href="stats">All rooms</a>`,
		} {
			if !strings.Contains(page, want) {
				t.Errorf("the page has no %s", want)
			}
		}
		time.Sleep(15 * time.Second)
		if got := one.Values("stats"); !strings.Contains(got[len(got)-1], `"events_per_second":0}`) {
			t.Errorf("later: got %s", got[len(got)-1])
		}
	})
}

// /stats lists the hundred rooms with the most users, whatever their names.
func TestStatsListsTheBusiest(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b, _ *rig) {
		for i := range 250 {
			for j := range 1 + i%5 {
				b.engine.Users().Open(fmt.Sprintf("room %03d", i), fmt.Sprintf("user-%d-%d", i, j), new(engine.Stream))
			}
		}
		var got struct {
			Users, Rooms int
			ByRoom       []struct {
				Room  string
				Users int
			} `json:"by_room"`
		}
		if err := json.Unmarshal(askAdmin(b.admin, "/stats").Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Rooms != 250 || got.Users != 750 || len(got.ByRoom) != 100 {
			t.Fatalf("got %d users in %d rooms, %d listed, want 750 in 250, 100 listed", got.Users, got.Rooms, len(got.ByRoom))
		}
		for i, r := range got.ByRoom {
			name, users := fmt.Sprintf("room %03d", 4+5*i), 5
			if i >= 50 {
				name, users = fmt.Sprintf("room %03d", 3+5*(i-50)), 4
			}
			if r.Room != name || r.Users != users {
				t.Errorf("number %d: got %q with %d, want %q with %d", i, r.Room, r.Users, name, users)
			}
		}
	})
}

// Strangers choose the names of rooms, so the page must escape them.
func TestStatsPageEscapes(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b, _ *rig) {
		for _, name := range []string{`</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `{{.Users}}`, "\u202eevil"} {
			b.engine.Users().Open(name, "", new(engine.Stream))
		}
		w := askAdmin(b.admin, "/stats", "Accept", firefox)
		for _, want := range []string{
			`<bdi title="&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;">&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;</bdi>`,
			`&#34;&gt;&lt;img src=x onerror=alert(1)&gt;</bdi>`, `>{{.Users}}</bdi>`, ">\u202eevil</bdi>",
		} {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("the page has no %s:\n%s", want, w.Body)
			}
		}
		for _, inline := range []string{`<style`, ` style=`, `<script>`, `<img`} {
			if strings.Contains(w.Body.String(), inline) {
				t.Errorf("the page has %s", inline)
			}
		}
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") || strings.Contains(policy, "unsafe") || w.Header().Get("X-Frame-Options") != "DENY" {
			t.Errorf("got header %v", w.Header())
		}
		// The page loads only what the same listener serves.
		head, _, _ := strings.Cut(w.Body.String(), "<body")
		urls := regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"`).FindAllStringSubmatch(head, -1)
		if len(urls) != 5 {
			t.Errorf("the page loads %d assets, want 5: %v", len(urls), urls)
		}
		for _, u := range urls {
			if a := askAdmin(b.admin, "/"+u[1]); a.Code != 200 {
				t.Errorf("%s: got %d", u[1], a.Code)
			}
		}
	})
}

// A watcher gets the stats at once and after each change, and heartbeats in between. It is not counted as a user or a
// stream.
func TestStatsEvents(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b, admin *rig) {
		plain, named := admin.watch(""), admin.watch("id=operator-1")
		users := func(s *bubble.Stream) string {
			var all []string
			for _, v := range s.Values("stats") {
				var st struct{ Users, Streams int }
				if err := json.Unmarshal([]byte(v), &st); err != nil || st.Streams != st.Users {
					t.Errorf("got %s", v)
				}
				all = append(all, fmt.Sprint(st.Users))
			}
			return strings.Join(all, " ")
		}
		time.Sleep(25 * time.Second)
		if got := users(named); got != "0" {
			t.Errorf("nothing happened: got users %s, want 0 once", got)
		}
		if got := len(named.Values("io:ping")); got != 2 {
			t.Errorf("got %d pings in 25 s, want 2", got)
		}
		if got := len(plain.Values("io:ping")) + len(plain.Values("io:hello")); got != 0 {
			t.Errorf("got %d signals without an id, want none", got)
		}
		a := b.Open("")
		time.Sleep(1100 * time.Millisecond)
		if got := users(named); got != "0 1" {
			t.Errorf("one came: got users %s, want 0 1", got)
		}
		for range 20 { // in one second
			b.Open("").Cancel()
		}
		a.Cancel()
		time.Sleep(1100 * time.Millisecond)
		if got := users(named); got != "0 1 0" {
			t.Errorf("many came and went: got users %s, want 0 1 0", got)
		}
		if want := `"ended":{"answered":0,"ended":0,"gone":21,"stalled":0}`; !strings.Contains(strings.Join(named.Values("stats"), ""), want) {
			t.Errorf("got no %s", want)
		}
	})
}

// Stop ends the streams last, and does not wait for them.
func TestStatsEventsEnd(t *testing.T) {
	inBubble(t, options{Drain: 2 * time.Second}, func(t *testing.T, b, admin *rig) {
		s := admin.watch("")
		b.Open("")
		b.Open("")
		begin := time.Now()
		if err := b.engine.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		admin.admin.Stop()
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("draining took %v", took)
		}
		if err := s.Ended(); err != io.EOF {
			t.Fatalf("ended with %v, want EOF", err)
		}
		if a := admin.Do("GET", "/stats/events", ""); a.StatusCode != 503 {
			t.Errorf("afterwards: got %s, want 503", a.Status)
		}
		if a := admin.Do("GET", "/stats", ""); !strings.Contains(a.Body, `"ready": "stopping"`) {
			t.Errorf("got %s, want that it is stopping", a.Body)
		}
	})
}

// The number of watchers is limited.
func TestStatsEventsAreBounded(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b, admin *rig) {
		var last *bubble.Stream
		for range 64 {
			last = admin.watch("")
		}
		admin.Do("GET", "/stats/events", "").WantError(t, 503)
		last.Cancel()
		admin.watch("").Cancel()
		admin.Do("GET", "/stats/events?id=x", "").WantError(t, 400)
		if a := admin.Do("HEAD", "/stats/events", ""); a.StatusCode != 200 {
			t.Errorf("HEAD: got %s", a.Status)
		}
		synctest.Wait()
	})
}

// The stats are cheap, even with as many rooms as there may be streams.
func BenchmarkStats(b *testing.B) {
	e, _, admin, stop := start(b, options{})
	defer stop()
	for i := range 100_000 {
		e.Users().Open(fmt.Sprint("room ", i), "", new(engine.Stream))
	}
	for b.Loop() {
		if w := askAdmin(admin, "/stats"); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}
