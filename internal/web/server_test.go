package web_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"headcount/internal/web"
)

// A panic ends one request, with an answer, and is told to the log; the streams that
// are open do not notice.
func TestPanic(t *testing.T) {
	var log strings.Builder
	inBubble(t, web.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, func(t *testing.T, b *bubble) {
		b.app.HandlePanic("/panic")
		s := b.open("")
		words := b.do("GET", "/panic", "").wantError(t, 500)
		if strings.Contains(words, "as asked") {
			t.Errorf("the answer %q tells strangers what panicked", words)
		}
		if !strings.Contains(log.String(), "as asked") {
			t.Errorf("the log does not tell what panicked: %s", log.String())
		}
		if err := s.ended(); err != nil {
			t.Errorf("a stream ended with %v", err)
		}
		time.Sleep(time.Second)
		b.open("").wantCounts("2")
		s.wantCounts("1", "2")
	})
}

func TestMethods(t *testing.T) {
	inBubble(t, web.Options{Token: "secret"}, func(t *testing.T, b *bubble) {
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
			a := b.do(tt.method, tt.path, "")
			a.wantError(t, 405)
			if got := a.Header.Get("Allow"); got != tt.allow {
				t.Errorf("%s %s: got Allow %q, want %q", tt.method, tt.path, got, tt.allow)
			}
		}
		b.wantUsers("lobby", 0)
	})
}

// HEAD answers the headers and counts nobody.
func TestHead(t *testing.T) {
	inBubble(t, web.Options{}, func(t *testing.T, b *bubble) {
		watcher := b.open("")
		time.Sleep(time.Second)
		a := b.do("HEAD", "/events?id=abcdefgh", "")
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" ||
			a.Header.Get("Cache-Control") != "no-cache, no-store, no-transform" || a.Header.Get("X-Accel-Buffering") != "no" {
			t.Errorf("got %s %v", a.Status, a.Header)
		}
		if a := b.do("HEAD", "/events?id=no", ""); a.StatusCode != 400 {
			t.Errorf("got %s for a bad id, want 400", a.Status)
		}
		time.Sleep(time.Second)
		watcher.wantCounts("1")
	})
}

func TestHealth(t *testing.T) {
	inBubble(t, web.Options{}, func(t *testing.T, b *bubble) {
		for _, path := range []string{"/healthz", "/readyz"} {
			if a := b.do("GET", path, ""); a.StatusCode != 200 {
				t.Errorf("%s: got %s, want 200", path, a.Status)
			}
		}
		b.do("GET", "/nothing", "").wantError(t, 404)
	})
}

// Beyond the limit: 503 with a Retry-After; a place that is given back can be had.
func TestMaxStreams(t *testing.T) {
	inBubble(t, web.Options{MaxStreams: 2}, func(t *testing.T, b *bubble) {
		b.open("")
		s := b.open("")
		a := b.do("GET", "/events", "")
		a.wantError(t, 503)
		if a.Header.Get("Retry-After") == "" {
			t.Error("503 has no Retry-After")
		}
		b.wantUsers("lobby", 2)
		s.cancel()
		b.open("").wantCounts("2")
	})
}
