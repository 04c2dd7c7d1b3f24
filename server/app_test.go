package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"

	"headcount"
	"headcount/internal/bubble"
)

// site is the public site in a bubble.
type site struct {
	*bubble.Bubble
	app *app
}

// inBubble runs the test with a site whose path /panic panics.
func inBubble(t *testing.T, cfg config, log io.Writer, test func(*testing.T, *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.writer = string(headcount.Portable) // the kernel's sockets are outside the bubble
		app, err := newApp(&cfg, slog.New(newRateLimited(slog.NewTextHandler(log, nil))))
		if err != nil {
			t.Fatal(err)
		}
		if err := app.start(&cfg, nil, nil, slog.New(newRateLimited(slog.NewTextHandler(log, nil)))); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := app.live.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		routes := app.routes()
		routes.GET("/panic", func(echo.Context) error { panic("as asked") })
		test(t, &site{bubble.Start(t, routes), app})
	})
}

// A panic ends one request with a response and is logged. Open streams are not affected.
func TestPanic(t *testing.T) {
	var log strings.Builder
	inBubble(t, config{}, &log, func(t *testing.T, b *site) {
		s := b.Open("")
		words := b.Do("GET", "/panic", "").WantError(t, 500)
		if strings.Contains(words, "as asked") {
			t.Errorf("the answer %q tells strangers what panicked", words)
		}
		if !strings.Contains(log.String(), "as asked") {
			t.Errorf("the log does not tell what panicked: %s", log.String())
		}
		if err := s.Ended(); err != nil {
			t.Errorf("a stream ended with %v", err)
		}
		time.Sleep(time.Second)
		b.Open("").WantCounts("2")
		s.WantCounts("1", "2")
	})
}

func TestHealth(t *testing.T) {
	inBubble(t, config{drain: 2 * time.Second}, io.Discard, func(t *testing.T, b *site) {
		for _, path := range []string{"/healthz", "/readyz"} {
			if a := b.Do("GET", path, ""); a.StatusCode != 200 {
				t.Errorf("%s: got %s, want 200", path, a.Status)
			}
		}
		b.Do("GET", "/nothing", "").WantError(t, 404)
		s := b.Open("")
		stopped := make(chan error)
		go func() { stopped <- b.app.live.Shutdown(t.Context()) }()
		synctest.Wait()
		b.Do("GET", "/readyz", "").WantError(t, 503)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if err := s.Ended(); err != io.EOF {
			t.Errorf("the stream ended with %v, want a clean end", err)
		}
	})
}

// The page of a private room requires a token for the room.
func TestPrivatePage(t *testing.T) {
	inBubble(t, config{token: "secret", private: []string{"team-*"}}, io.Discard, func(t *testing.T, b *site) {
		if a := b.Do("GET", "/?room=team-a", ""); a.StatusCode != 401 || a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("without a token: got %s %v", a.Status, a.Header)
		}
		a := b.Do("GET", "/?room=team-a&token=secret", "")
		if a.StatusCode != 200 {
			t.Errorf("with a token: got %s", a.Status)
		}
		if a := b.Do("GET", "/", ""); a.StatusCode != 200 || a.Header.Get("Cross-Origin-Resource-Policy") != "" {
			t.Errorf("of another room: got %s %v", a.Status, a.Header)
		}
	})
}

// Mistakes of strangers are not logged, and the log lines that strangers can cause are limited.
func TestLogFlood(t *testing.T) {
	var log bytes.Buffer
	cfg := config{token: "secret", private: []string{"boss"}, maxStreams: 1}
	inBubble(t, cfg, &log, func(t *testing.T, b *site) {
		ask := func(method, path, body string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			b.Server.Handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
			return w
		}
		b.Open("")
		for range 1000 {
			for _, way := range [][3]string{
				{"GET", "/events?room=%zz", ""}, {"GET", "/events", ""}, {"GET", "/events?id=x", ""}, {"PUT", "/", ""}, {"GET", "/nothing", ""},
				{"POST", "/emit", "{"}, {"POST", "/alive", "{"}, {"POST", "/leave", strings.Repeat("x", 20<<10)},
				{"GET", "/count?room=boss", ""}, {"GET", "/count?room=boss&token=a.b.c", ""},
			} {
				if w := ask(way[0], way[1], way[2]); w.Code < 400 {
					t.Fatalf("%v: got %d, want an error", way, w.Code)
				}
			}
		}
		if log.Len() != 0 {
			t.Errorf("10,000 bad requests are logged: %.300s", log.String())
		}
		for range 10_000 {
			ask("GET", "/panic", "")
		}
		if n := bytes.Count(log.Bytes(), []byte("\n")); n == 0 || n > 50 {
			t.Errorf("got %d lines, want 1 to 50", n)
		}
		time.Sleep(time.Second)
		log.Reset()
		ask("GET", "/panic", "")
		if !strings.Contains(log.String(), "lines_left_out=9950") {
			t.Errorf("got %s, want how many lines are missing", log.String())
		}
	})
}
