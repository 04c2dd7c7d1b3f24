package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/web"
)

// Of an address so many streams a second, and ten times as many at once; the others notice
// nothing of one that brings more.
func TestMaxRate(t *testing.T) {
	opt := web.Options{MaxRate: 2}
	inBubble(t, opt, func(t *testing.T, b *bubble) {
		by := func(address, method, path, body string) *httptest.ResponseRecorder {
			w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, strings.NewReader(body))
			r.RemoteAddr = address
			b.app.ServeHTTP(w, r)
			return w
		}
		one, other := "192.0.2.1:1", "192.0.2.2:1"
		poll := func(address string) *httptest.ResponseRecorder { return by(address, "GET", "/events?poll=1", "") }
		for range 20 {
			if a := poll(one); a.Code != 200 {
				t.Fatalf("got %d %s within the burst", a.Code, a.Body)
			}
		}
		a := poll(one)
		if after := a.Header().Get("Retry-After"); a.Code != http.StatusTooManyRequests || !regexp.MustCompile(`^[1-5]$`).MatchString(after) {
			t.Errorf("got %d, Retry-After %q, want 429, 1 to 5", a.Code, after)
		}
		if a := by(one, "POST", "/alive", `{"ids":["abcdefgh"]}`); a.Code != http.StatusTooManyRequests {
			t.Errorf("a new id: got %d, want 429", a.Code)
		}
		if a := poll(other); a.Code != 200 {
			t.Errorf("another address: got %d, want 200", a.Code)
		}
		time.Sleep(time.Second)
		for i, want := range []int{200, 200, 429} {
			if a := poll(one); a.Code != want {
				t.Errorf("a second later, number %d: got %d, want %d", i+1, a.Code, want)
			}
		}
	})
}

// However many addresses come, not more than so many are remembered.
func TestRatesAreBounded(t *testing.T) {
	r, now := web.NewRates(1), time.Now()
	for i := range 1 << 15 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if !r.Allow(netip.PrefixFrom(a, 32), now, 1) {
			t.Fatalf("%v is refused at once", a)
		}
		if n := r.Len(); n > 10_000 {
			t.Fatalf("got %d addresses, want at most 10,000", n)
		}
	}
	now = now.Add(time.Minute)
	r.Allow(netip.MustParsePrefix("192.0.2.1/32"), now, 1)
	if n := r.Len(); n > 10_000 {
		t.Errorf("got %d addresses, want at most 10,000", n)
	}
}

// ask sends a request without a network.
func ask(app http.Handler, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	app.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

// Who makes up ids, a hundred at a time, makes no more of them than there may be. Those who
// are known go on, streams come and go, and after a minute there is room again.
func TestMadeUpUsers(t *testing.T) {
	inBubble(t, web.Options{Linger: 2 * time.Second}, func(t *testing.T, b *bubble) {
		body := func(i int) string {
			ids := make([]string, 100)
			for j := range ids {
				ids[j] = fmt.Sprintf("made-up-%d-%d", i, j)
			}
			text, _ := json.Marshal(map[string]any{"room": fmt.Sprint("room ", i), "ids": ids})
			return string(text)
		}
		refused := 0
		for i := range 1100 {
			if ask(b.app, "POST", "/alive", body(i)).Code == http.StatusServiceUnavailable {
				refused++
			}
		}
		if n := b.app.Table().Leases(); n != 100_000 || refused != 100 {
			t.Errorf("got %d users and %d refusals, want 100,000 and 100", n, refused)
		}
		if w := ask(b.app, "POST", "/alive", body(7)); w.Code != 204 {
			t.Errorf("who is known: got %d, want 204", w.Code)
		}
		s := b.open("id=abcdefgh")
		s.wantCounts("1")
		s.cancel()
		synctest.Wait()
		if n := b.app.Table().Leases(); n > 100_000 {
			t.Errorf("got %d users, want at most 100,000", n)
		}
		time.Sleep(56 * time.Second)
		if w := ask(b.app, "POST", "/alive", body(2000)); w.Code != 204 {
			t.Errorf("after a minute: got %d %s, want 204", w.Code, w.Body)
		}
	})
}

// What strangers do wrong is not worth a line, and what they may make the server log is
// bounded.
func TestLogFlood(t *testing.T) {
	var log bytes.Buffer
	opt := privateRooms(t)
	opt.MaxStreams, opt.Log = 1, slog.New(slog.NewTextHandler(&log, nil))
	inBubble(t, opt, func(t *testing.T, b *bubble) {
		b.app.HandlePanic("/panic")
		b.open("")
		for range 1000 {
			for _, way := range [][3]string{
				{"GET", "/events?room=%zz", ""}, {"GET", "/events", ""}, {"GET", "/events?id=x", ""}, {"PUT", "/", ""}, {"GET", "/nothing", ""},
				{"POST", "/emit", "{"}, {"POST", "/alive", "{"}, {"POST", "/leave", strings.Repeat("x", 20<<10)},
				{"GET", "/count?room=boss", ""}, {"GET", "/count?room=boss&token=a.b.c", ""},
			} {
				if w := ask(b.app, way[0], way[1], way[2]); w.Code < 400 {
					t.Fatalf("%v: got %d, want an error", way, w.Code)
				}
			}
		}
		if log.Len() != 0 {
			t.Errorf("10,000 bad requests are logged: %.300s", log.String())
		}
		for range 10_000 {
			ask(b.app, "GET", "/panic", "")
		}
		if n := bytes.Count(log.Bytes(), []byte("\n")); n == 0 || n > 50 {
			t.Errorf("got %d lines, want 1 to 50", n)
		}
		time.Sleep(time.Second)
		log.Reset()
		ask(b.app, "GET", "/panic", "")
		if !strings.Contains(log.String(), "lines_left_out=9950") {
			t.Errorf("got %s, want how many lines are missing", log.String())
		}
	})
}

// The metrics say why requests were refused, in few words that no stranger makes.
func TestRefusalReasons(t *testing.T) {
	opt := privateRooms(t)
	opt.MaxPerIP = 1
	inBubble(t, opt, func(t *testing.T, b *bubble) {
		b.open("")
		for _, path := range []string{"/events?room=%00", "/events", "/count?room=boss", "/count?room=boss&token=x.y.z", "/nothing" + strings.Repeat("x", 100)} {
			b.do("GET", path, "")
		}
		b.do("GET", "/events", "", "Origin", "https://evil.test")
		b.do("POST", "/leave", strings.Repeat("x", 20<<10))
		w := httptest.NewRecorder()
		b.app.Admin().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		got := regexp.MustCompile(`(?m)^headcount_requests_refused_total.* [1-9].*$`).FindAllString(w.Body.String(), -1)
		want := []string{
			`headcount_requests_refused_total{reason="bad_request",status="400"} 1`,
			`headcount_requests_refused_total{reason="body_too_large",status="413"} 1`,
			`headcount_requests_refused_total{reason="max_streams_per_ip",status="503"} 1`,
			`headcount_requests_refused_total{reason="no_such_route",status="404"} 1`,
			`headcount_requests_refused_total{reason="origin",status="403"} 1`,
			`headcount_requests_refused_total{reason="token",status="401"} 2`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}
