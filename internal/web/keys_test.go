package web_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/web"
)

// Of 300,000 keys the last 100,000 are remembered, each for two minutes; one that is
// known pushes out no other.
func TestKeysAreBounded(t *testing.T) {
	const most = 100_000
	synctest.Test(t, func(t *testing.T) {
		var keys web.Keys
		calls := 0
		once := func(n int) string {
			return keys.Once(fmt.Sprint(n), func() string { calls++; return fmt.Sprint("id ", n) })
		}
		for n := range 3 * most {
			once(n)
		}
		if keys.Len() != most || calls != 3*most {
			t.Fatalf("got %d keys after %d calls, want %d after %d", keys.Len(), calls, most, 3*most)
		}
		for _, n := range []int{3*most - 1, 2 * most, 2 * most} { // the oldest, too, and again
			if got := once(n); got != fmt.Sprint("id ", n) || calls != 3*most {
				t.Errorf("key %d of those that are remembered: got %s and %d calls, want its id and no other", n, got, calls)
			}
		}
		if once(2*most - 1); calls != 3*most+1 {
			t.Error("a key before the last 100,000 is still known")
		}
		time.Sleep(2 * time.Minute)
		once(-1)
		if keys.Len() != 1 {
			t.Errorf("got %d keys after two minutes, want the new one", keys.Len())
		}
	})
}

// What is remembered of an event is small, however large its body was.
func TestKeysKeepNoBodies(t *testing.T) {
	app, err := web.New(web.Options{Token: "secret", History: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	const emits, size = 500, 60_000
	send := func(n int) {
		body := url.Values{"event": {"news"}, "room": {"a"}, "data": {strings.Repeat("x", size)}}.Encode()
		r := httptest.NewRequest("POST", "/emit", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", "Bearer secret")
		r.Header.Set("Idempotency-Key", fmt.Sprint(n))
		w := httptest.NewRecorder()
		if app.ServeHTTP(w, r); w.Code != 200 {
			t.Fatalf("got %d %s, want 200", w.Code, w.Body)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	send(-1)
	before := heap()
	for n := range emits {
		send(n)
	}
	if grown := int64(heap()) - int64(before); grown > emits*size/10 {
		t.Errorf("%d events of %d bytes leave %d bytes behind", emits, size, grown)
	}
	runtime.KeepAlive(app)
}

// Many who send the same key at the same time get one event's id, and there is one event.
func TestKeyAtOnce(t *testing.T) {
	inBubble(t, web.Options{Token: "secret"}, func(t *testing.T, b *bubble) {
		reader := b.open("")
		for round := range 20 {
			ids := make([]string, 10)
			var sending sync.WaitGroup
			for i := range ids {
				sending.Go(func() {
					a := b.emit(`{"event":"news","data":`+fmt.Sprint(i)+`}`, false, append(bearer[:2:2], "Idempotency-Key", fmt.Sprint(round))...)
					var done struct{ ID string }
					if err := json.Unmarshal([]byte(a.body), &done); err != nil || a.StatusCode != 200 {
						t.Errorf("got %s %s, want 200", a.Status, a.body)
					}
					ids[i] = done.ID
				})
			}
			sending.Wait()
			for i, id := range ids {
				if id != ids[0] || id == "" {
					t.Errorf("round %d: request %d got id %q, want %q", round, i, id, ids[0])
				}
			}
			if got := len(reader.values("news")); got != round+1 {
				t.Fatalf("round %d: got %d events, want %d", round, got, round+1)
			}
		}
	})
}
