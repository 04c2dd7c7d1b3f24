package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"headcount"
)

// withToken allows only requests that have the token.
func withToken(r *http.Request, a headcount.Access) error {
	if a.Event != "" && r.Header.Get("Authorization") != "Bearer secret" {
		return headcount.ErrUnauthenticated
	}
	return nil
}

// An event arrives once if its response is lost, and also if the server was away at first.
func TestEmitOnce(t *testing.T) {
	app, err := headcount.New(headcount.Options{Authorize: withToken})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	var attempts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			switch attempts.Add(1) {
			case 1: // accepted, but the response is lost
				app.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			case 2:
				http.Error(w, "no server there", http.StatusBadGateway)
				return
			}
		}
		app.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	stream, err := http.Get(server.URL + "/events?room=machine")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stream.Body.Close() })

	to := target{server: server.URL, token: "secret", room: "machine", log: io.Discard}
	for _, event := range []string{"load", "end"} {
		if err := to.emit(t.Context(), event, load{Minute: 0.5, Runnable: 2, Tasks: 345}); err != nil {
			t.Fatalf("emit %s: %v", event, err)
		}
	}
	var got []string
	for lines := bufio.NewScanner(stream.Body); lines.Scan() && !slices.Contains(got, "event: end"); {
		if line := lines.Text(); strings.HasPrefix(line, "event: ") || strings.HasPrefix(line, "data: {") {
			got = append(got, line)
		}
	}
	want := []string{"event: user count", "event: load", `data: {"minute":0.5,"runnable":2,"tasks":345}`, "event: end"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := attempts.Load(); n != 4 {
		t.Errorf("got %d attempts, want 4", n)
	}
}

func TestEmitRefused(t *testing.T) {
	app, err := headcount.New(headcount.Options{Authorize: withToken})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	to := target{server: server.URL, token: "wrong", room: "machine", log: io.Discard}
	var refused *refusal
	if err := to.emit(t.Context(), "load", load{}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "401") {
		t.Errorf("emit with a wrong token: got %v, want a refusal with 401", err)
	}
}

func TestReadLoad(t *testing.T) {
	got, err := readLoad("testdata/loadavg")
	if want := (load{Minute: 0.42, Runnable: 2, Tasks: 345}); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := readLoad("testdata/none"); err == nil {
		t.Error("no error where there is no file")
	}
}
