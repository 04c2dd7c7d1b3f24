package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Of an address so many streams a second, and ten times as many at once; the others notice
// nothing of one that brings more.
func TestMaxRate(t *testing.T) {
	opt := options{MaxRate: 2}
	inBubble(t, opt, func(t *testing.T, b *rig) {
		by := func(address, method, path, body string) *httptest.ResponseRecorder {
			w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, strings.NewReader(body))
			r.RemoteAddr = address
			b.handler.ServeHTTP(w, r)
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

// ask sends a request without a network.
func ask(app http.Handler, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	app.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

// Who makes up ids, a hundred at a time, makes no more of them than there may be. Those who
// are known go on, streams come and go, and after a minute there is room again.
func TestMadeUpUsers(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
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
			if ask(b.handler, "POST", "/alive", body(i)).Code == http.StatusServiceUnavailable {
				refused++
			}
		}
		if n := b.engine.Users().Leases(); n != 100_000 || refused != 100 {
			t.Errorf("got %d users and %d refusals, want 100,000 and 100", n, refused)
		}
		if w := ask(b.handler, "POST", "/alive", body(7)); w.Code != 204 {
			t.Errorf("who is known: got %d, want 204", w.Code)
		}
		s := b.Open("id=abcdefgh")
		s.WantCounts("1")
		s.Cancel()
		synctest.Wait()
		if n := b.engine.Users().Leases(); n > 100_000 {
			t.Errorf("got %d users, want at most 100,000", n)
		}
		time.Sleep(56 * time.Second)
		if w := ask(b.handler, "POST", "/alive", body(2000)); w.Code != 204 {
			t.Errorf("after a minute: got %d %s, want 204", w.Code, w.Body)
		}
	})
}

// The observer hears why requests were refused, in few words that no stranger makes.
func TestRefusalReasons(t *testing.T) {
	opt := privateRooms(t)
	opt.MaxPerIP = 1
	inBubble(t, opt, func(t *testing.T, b *rig) {
		b.Open("")
		for _, path := range []string{"/events?room=%00", "/events", "/count?room=boss", "/count?room=boss&token=x.y.z", "/nothing" + strings.Repeat("x", 100)} {
			b.Do("GET", path, "")
		}
		b.Do("GET", "/events", "", "Origin", "https://evil.test")
		b.Do("POST", "/leave", strings.Repeat("x", 20<<10))
		for _, want := range []string{
			"bad_request 400", "body_too_large 413", "max_streams_per_ip 503", "no_such_route 404", "origin 403", "token 401",
		} {
			if b.seen.of(want) == 0 {
				t.Errorf("nothing was refused as %s", want)
			}
		}
		if n := b.seen.of("token 401"); n != 2 {
			t.Errorf("%d requests were refused as token 401, want 2", n)
		}
	})
}
