package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/r3labs/sse/v2"

	"headcount"
)

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
	ctx, stop := context.WithTimeout(t.Context(), testTimeout)
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

// opened is an Observer that counts the streams by transport.
type opened struct {
	headcount.Unobserved
	streams chan headcount.Transport
}

func (o opened) Opened(t headcount.Transport) { o.streams <- t }

// A user that the host names counts once, a limit is an answer, and an observer sees what was admitted.
func TestOptions(t *testing.T) {
	for name, mount := range mounts {
		t.Run(name, func(t *testing.T) {
			seen := opened{streams: make(chan headcount.Transport, 10)}
			live := start(t, headcount.Options{
				Identify:   func(r *http.Request) string { return r.FormValue("user") },
				Observer:   seen,
				MaxStreams: 3,
			})
			url, _ := serve(t, mount(live))
			open(t, url+"/events?user=ann&id=abcdefgh").until("data: 1")
			open(t, url+"/events?user=ann&id=ijklmnop").until("data: 1")
			open(t, url+"/events?user=bob").until("data: 2")
			if resp, body := get(t, url+"/events"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("the fourth stream got %s %q, want 503 with Retry-After", resp.Status, body)
			}
			if n := live.Count("lobby"); n != 2 {
				t.Errorf("got %d users, want 2", n)
			}
			for i := range 3 { // a stream may have sent its first bytes a moment before
				select {
				case <-seen.streams:
				case <-time.After(10 * time.Second):
					t.Fatalf("the observer saw %d streams, want 3", i)
				}
			}
			if more := len(seen.streams); more > 0 {
				t.Errorf("the observer saw %d streams more than 3", more)
			}
		})
	}
}
