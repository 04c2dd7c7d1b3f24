package httpapi_test

import (
	"testing"
	"time"
)

func TestMethods(t *testing.T) {
	inBubble(t, options{Token: "secret"}, func(t *testing.T, b *rig) {
		for _, tt := range []struct{ method, path, allow string }{
			{"POST", "/events", "GET, HEAD"},
			{"PUT", "/events", "GET, HEAD"},
			{"DELETE", "/events", "GET, HEAD"},
			{"OPTIONS", "/events", "GET, HEAD"},
			{"GET", "/leave", "POST"},
			{"GET", "/emit", "POST"},
			{"GET", "/alive", "POST"},
			{"POST", "/count", "GET, HEAD"},
		} {
			a := b.Do(tt.method, tt.path, "")
			a.WantError(t, 405)
			if got := a.Header.Get("Allow"); got != tt.allow {
				t.Errorf("%s %s: got Allow %q, want %q", tt.method, tt.path, got, tt.allow)
			}
		}
		b.WantUsers("lobby", 0)
	})
}

// HEAD returns the headers and counts nobody.
func TestHead(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		watcher := b.Open("")
		time.Sleep(time.Second)
		a := b.Do("HEAD", "/events?id=abcdefgh", "")
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" ||
			a.Header.Get("Cache-Control") != "no-cache, no-store, no-transform" || a.Header.Get("X-Accel-Buffering") != "no" {
			t.Errorf("got %s %v", a.Status, a.Header)
		}
		if a := b.Do("HEAD", "/events?id=no", ""); a.StatusCode != 400 {
			t.Errorf("got %s for a bad id, want 400", a.Status)
		}
		time.Sleep(time.Second)
		watcher.WantCounts("1")
	})
}

// Streams beyond the limit get 503 with a Retry-After. A stream that ends makes room.
func TestMaxStreams(t *testing.T) {
	inBubble(t, options{MaxStreams: 2}, func(t *testing.T, b *rig) {
		b.Open("")
		s := b.Open("")
		a := b.Do("GET", "/events", "")
		a.WantError(t, 503)
		if a.Header.Get("Retry-After") == "" {
			t.Error("503 has no Retry-After")
		}
		b.WantUsers("lobby", 2)
		s.Cancel()
		b.Open("").WantCounts("2")
	})
}
