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

// An address may open a number of streams per second, and ten times as many at once. Other addresses are not affected.
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

// alive renews a hundred made-up ids, different ones for each number. The request comes from address without a network.
func (b *rig) alive(address, room string, number int) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/alive", strings.NewReader(b.hundred(room, number)))
	r.RemoteAddr = address
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

// hundred returns the body of a request that names a hundred made-up ids.
func (b *rig) hundred(room string, number int) string {
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = fmt.Sprintf("made-up-%d-%d", number, i)
	}
	text, _ := json.Marshal(map[string]any{"room": room, "ids": ids})
	return string(text)
}

// A stranger who makes up ids, a hundred at a time, moves the count by a hundred, and by a hundred more with each
// stream. Other users are not affected, and known ids stay.
func TestMadeUpUsersOfOneAddress(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		attack := func(want int) {
			t.Helper()
			for i := range 1000 {
				b.alive("192.0.2.1:1", "lobby", i)
			}
			if got := b.users("lobby"); got != want {
				t.Errorf("got %d users, want %d", got, want)
			}
		}
		attack(100)
		leader := b.Open("id=leader-1") // from another address
		if w := b.alive("192.0.2.9:1", "lobby", 5000); w.Code != 204 || b.users("lobby") != 201 {
			t.Errorf("tabs that follow another address's stream: got %d %s and %d users, want 204 and 201", w.Code, w.Body, b.users("lobby"))
		}
		for range 6 { // and for more than a lease
			time.Sleep(10 * time.Second)
			attack(201)
			if w := b.alive("192.0.2.9:2", "lobby", 5000); w.Code != 204 {
				t.Errorf("the same tabs later: got %d %s, want 204", w.Code, w.Body)
			}
		}
		leader.Cancel()
		time.Sleep(56 * time.Second)
		b.WantUsers("lobby", 0)
		attack(100)
		time.Sleep(56 * time.Second)

		for n := range 20 { // goodbyes make room
			if w := b.alive("192.0.2.1:1", "lobby", n); w.Code != 204 {
				t.Errorf("after goodbyes: got %d, want 204", w.Code)
			}
			b.Do("POST", "/leave", b.hundred("lobby", n))
		}

		b.Open("id=stranger") // from the address of the rig
		b.alive("pipe", "lobby", 1)
		b.alive("pipe", "lobby", 2)
		if w := b.alive("pipe", "lobby", 3); w.Code != 503 {
			t.Errorf("more than a hundred without a stream and a hundred with one: got %d, want 503", w.Code)
		}
		if got := b.users("lobby"); got != 201 {
			t.Errorf("got %d users, want the stream's and 200", got)
		}
	})
}

// The number of made-up ids is limited, for any number of addresses. Known ids stay, streams come and go, and after a
// minute there is room again.
func TestMadeUpUsers(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		alive := func(i int) *httptest.ResponseRecorder {
			return b.alive(fmt.Sprintf("10.%d.%d.1:1", i/256, i%256), fmt.Sprint("room ", i), i)
		}
		refused := 0
		for i := range 1100 {
			if alive(i).Code == http.StatusServiceUnavailable {
				refused++
			}
		}
		if n := b.engine.Users().Leases(); n != 100_000 || refused != 100 {
			t.Errorf("got %d users and %d refusals, want 100,000 and 100", n, refused)
		}
		if w := alive(7); w.Code != 204 {
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
		if w := alive(2000); w.Code != 204 {
			t.Errorf("after a minute: got %d %s, want 204", w.Code, w.Body)
		}
	})
}

// The observer gets the reasons of refusals from a fixed set that no stranger can extend.
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
