package host

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"headcount"
)

const testTimeout = 15 * time.Second

// mounts are programs that have headcount under /live.
var mounts = map[string]func(http.Handler) http.Handler{
	"net/http": func(live http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/live/", http.StripPrefix("/live", live))
		return mux
	},
	"Echo": func(live http.Handler) http.Handler {
		e := echo.New()
		e.Use(
			middleware.LoggerWithConfig(middleware.LoggerConfig{Output: io.Discard}), middleware.Recover(), middleware.Gzip(),
			middleware.RequestID(), middleware.Timeout(), middleware.ContextTimeout(time.Second),
		)
		e.Any("/live/*", echo.WrapHandler(http.StripPrefix("/live", live)))
		return e
	},
}

// serve runs a program whose timeouts are far shorter than streams are.
func serve(t *testing.T, h http.Handler) (url string, server *http.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadTimeout: time.Second, WriteTimeout: time.Second, IdleTimeout: time.Second}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String() + "/live", s
}

func start(t *testing.T, opt headcount.Options) *headcount.Server {
	t.Helper()
	live, err := headcount.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { live.Shutdown(context.Background()) })
	return live
}

// stream is an open stream, read line by line.
type stream struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Scanner
}

func open(t *testing.T, url string) *stream {
	t.Helper()
	// A client of its own: over HTTP/1.1 each stream is a connection. It asks for gzip, and does not undo it.
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Content-Encoding") != "" {
		t.Fatalf("got %s %v", resp.Status, resp.Header)
	}
	return &stream{t, resp, bufio.NewScanner(resp.Body)}
}

// until reads up to a line.
func (s *stream) until(want string) {
	s.t.Helper()
	late := time.AfterFunc(testTimeout, func() { s.resp.Body.Close() })
	defer late.Stop()
	for s.lines.Scan() {
		if s.lines.Text() == want {
			return
		}
	}
	s.t.Fatalf("the stream ended without %q: %v", want, s.lines.Err())
}

func get(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	return do(t, "GET", url, "", header...)
}

func do(t *testing.T, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// Streams are neither compressed nor cut, by whatever writer: they outlive every timeout of the program.
func TestStreams(t *testing.T) {
	for name, mount := range mounts {
		for _, writer := range []headcount.Writer{headcount.Auto, headcount.Portable} {
			t.Run(name+"/"+string(writer), func(t *testing.T) {
				live := start(t, headcount.Options{Heartbeat: 200 * time.Millisecond, Writer: writer})
				url, _ := serve(t, mount(live))
				s := open(t, url+"/events")
				s.until("data: 1")
				if name == "Echo" && writer == headcount.Portable {
					return // ContextTimeout bounds what goes through net/http; see TestContextTimeout
				}
				for begin := time.Now(); time.Since(begin) < 3*time.Second; {
					s.until(":")
				}
				if _, err := live.Emit(t.Context(), headcount.Event{Name: "news", Data: "<hi>"}); err != nil {
					t.Fatal(err)
				}
				s.until(`data: "<hi>"`)
			})
		}
	}
}

// Where the request's context ends, a stream that stays with net/http ends cleanly, and soon comes again.
func TestContextTimeout(t *testing.T) {
	live := start(t, headcount.Options{Heartbeat: 200 * time.Millisecond, Writer: headcount.Portable})
	url, _ := serve(t, mounts["Echo"](live))
	s := open(t, url+"/events?id=abcdefgh")
	s.until("data: 1")
	var last string
	for s.lines.Scan() {
		last = s.lines.Text()
	}
	if err := s.lines.Err(); err != nil || !strings.HasPrefix(last, "retry: ") {
		t.Errorf("the stream ended with %q, %v, want a retry time and a clean end", last, err)
	}
	if n := live.Count("lobby"); n != 1 {
		t.Errorf("got %d users while it is on its way back, want 1", n)
	}
}

// Idle streams cost no goroutine, and the program does nothing for it.
func TestGoroutines(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has epoll")
	}
	for name, mount := range mounts {
		t.Run(name, func(t *testing.T) {
			live := start(t, headcount.Options{})
			url, _ := serve(t, mount(live))
			address := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/live")
			connect := func() {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				fmt.Fprint(conn, "GET /live/events HTTP/1.1\r\nHost: "+address+"\r\n\r\n")
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			connect()
			before := runtime.NumGoroutine()
			for range 300 {
				connect()
			}
			var after int
			for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); runtime.Gosched() {
				if after = runtime.NumGoroutine(); after < before+10 {
					break
				}
			}
			if n := live.Count("lobby"); n != 301 || after >= before+10 {
				t.Errorf("got %d users, and %d goroutines for 300 more streams, want 301 and about none", n, after-before)
			}
		})
	}
}

// A middleware that hides how to stream is named, at once; polls pass it.
func TestMiddlewareThatHides(t *testing.T) {
	live := start(t, headcount.Options{})
	e := echo.New()
	e.Use(middleware.TimeoutWithConfig(middleware.TimeoutConfig{Timeout: 30 * time.Second}))
	e.Any("/live/*", echo.WrapHandler(http.StripPrefix("/live", live)))
	url, _ := serve(t, e)
	resp, body := get(t, url+"/events")
	var answer struct{ Error string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.StatusCode != 500 || !strings.Contains(answer.Error, "http.Hijacker") {
		t.Errorf("got %s %q, want 500 and a sentence", resp.Status, body)
	}
	if resp, body := get(t, url+"/events?poll=1"); resp.StatusCode != 200 || !strings.Contains(body, "event: user count") {
		t.Errorf("a poll: got %s %q", resp.Status, body)
	}
	if n := live.Stats().Streams; n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

// Shutdown works before, after and without that of the server, and twice.
func TestShutdown(t *testing.T) {
	for _, order := range []string{"before", "after", "without"} {
		t.Run(order, func(t *testing.T) {
			live := start(t, headcount.Options{Drain: 500 * time.Millisecond})
			url, server := serve(t, mounts["net/http"](live))
			s := open(t, url+"/events")
			s.until("data: 1")
			ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
			defer cancel()
			if order == "after" {
				if err := server.Shutdown(ctx); err != nil {
					t.Error(err)
				}
			}
			for range 2 {
				if err := live.Shutdown(ctx); err != nil {
					t.Error(err)
				}
			}
			last := ""
			for s.lines.Scan() {
				last = s.lines.Text()
			}
			if err := s.lines.Err(); err != nil || !strings.HasPrefix(last, "retry: ") {
				t.Errorf("the stream ended with %q, %v, want a retry time and a clean end", last, err)
			}
			if order == "before" {
				if err := server.Shutdown(ctx); err != nil {
					t.Error(err)
				}
			}
			if _, err := live.Emit(ctx, headcount.Event{Name: "news"}); !errors.Is(err, headcount.ErrUnavailable) {
				t.Errorf("emit afterwards: got %v, want ErrUnavailable", err)
			}
		})
	}
}
