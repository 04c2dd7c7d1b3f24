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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/r3labs/sse/v2"

	"headcount"
)

const patience = 15 * time.Second

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
	late := time.AfterFunc(patience, func() { s.resp.Body.Close() })
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
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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
			for deadline := time.Now().Add(patience); time.Now().Before(deadline); runtime.Gosched() {
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

// Everything below the mount.
func TestRoutes(t *testing.T) {
	for name, mount := range mounts {
		t.Run(name, func(t *testing.T) {
			live := start(t, headcount.Options{Authorize: func(r *http.Request, a headcount.Access) error {
				switch {
				case r.Header.Get("Authorization") == "Bearer all":
					return nil
				case a.Event != "":
					return headcount.ErrUnauthenticated
				case a.Room == "boss":
					return errors.New("only the boss may look here")
				}
				return nil
			}})
			url, _ := serve(t, mount(live))
			for _, row := range []struct {
				method, path, body string
				header             []string
				status             int
				want               string
			}{
				{"GET", "/count", "", nil, 200, `"users":0`},
				{"GET", "/badge.svg", "", nil, 200, "<svg"},
				{"GET", "/assets/io.js", "", nil, 200, "headcount"},
				{"GET", "/assets/io.mjs", "", nil, 200, "export"},
				{"POST", "/alive", `{"ids":["abcdefgh"]}`, nil, 204, ""},
				{"POST", "/leave", `{"ids":["abcdefgh"]}`, nil, 204, ""},
				{"GET", "/count?room=boss", "", nil, 403, "only the boss may look here"},
				{"POST", "/emit", `{"event":"news"}`, nil, 401, "token"},
				{"POST", "/emit", `{"event":"news"}`, []string{"Authorization", "Bearer all"}, 200, `"room":"lobby"`},
				{"POST", "/emit", `{"event":"message"}`, []string{"Authorization", "Bearer all"}, 400, "message"},
				{"PUT", "/events", "", nil, 405, "GET"},
				{"GET", "/nothing", "", nil, 404, "nothing here"},
				{"GET", "/events?poll=1", "", nil, 200, "event: user count"},
			} {
				resp, body := do(t, row.method, url+row.path, row.body, row.header...)
				if resp.StatusCode != row.status || !strings.Contains(body, row.want) {
					t.Errorf("%s %s: got %s %.200q, want %d with %q", row.method, row.path, resp.Status, body, row.status, row.want)
				}
			}
			resp, _ := get(t, url+"/assets/io.js", "Accept-Encoding", "gzip")
			if resp.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("the client is not compressed: %v", resp.Header)
			} else if r, err := http.Get(url + "/assets/io.js"); err != nil {
				t.Error(err)
			} else {
				defer r.Body.Close() // Go has asked for gzip and undone it: once is enough
				if text, err := io.ReadAll(r.Body); err != nil || !strings.Contains(string(text), "headcount") {
					t.Errorf("got %.50q, %v", text, err)
				}
			}
		})
	}
}

// What the contract says of the methods.
func TestMethods(t *testing.T) {
	joined := make(chan string, 10)
	live := start(t, headcount.Options{
		OnJoin:  func(room string, users int) { joined <- fmt.Sprint("join ", room, users) },
		OnLeave: func(room string, users int) { joined <- fmt.Sprint("leave ", room, users) },
		Linger:  -1,
	})
	url, _ := serve(t, mounts["net/http"](live))
	a := open(t, url+"/events?room=a")
	a.until("data: 1")
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	var seen []int
	for n := range live.Watch(ctx, "a") {
		seen = append(seen, n)
		if n == 2 {
			break
		}
		go open(t, url+"/events?room=a")
	}
	if !slices.Equal(seen, []int{1, 2}) || live.Count("a") != 2 {
		t.Errorf("watched %v, counted %d, want 1 2 and 2", seen, live.Count("a"))
	}
	id, err := live.Emit(ctx, headcount.Event{Room: "a", Name: "news", Data: []int{1}})
	if id == "" || err != nil {
		t.Errorf("emit: got %q, %v", id, err)
	}
	a.until("data: [1]")
	if err := live.Publish("a", &sse.Event{Event: []byte("news"), Data: []byte("hi")}); err != nil {
		t.Error(err)
	}
	a.until(`data: "hi"`)
	for _, bad := range []struct {
		e    headcount.Event
		want error
	}{
		{headcount.Event{Name: "user count"}, headcount.ErrReservedName},
		{headcount.Event{Name: "news", Data: strings.Repeat("x", 1<<20)}, headcount.ErrTooLarge},
	} {
		if _, err := live.Emit(ctx, bad.e); !errors.Is(err, bad.want) {
			t.Errorf("emit %q: got %v, want %v", bad.e.Name, err, bad.want)
		}
	}
	a.resp.Body.Close()
	for _, want := range []string{"join a1", "join a2", "leave a1"} {
		select {
		case got := <-joined:
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("nobody was told of %q", want)
		}
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
			ctx, cancel := context.WithTimeout(t.Context(), patience)
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
