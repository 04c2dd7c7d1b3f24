package headcount_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/r3labs/sse/v2"

	"headcount"
)

// A program that already has an HTTP server mounts headcount under a path.
func Example() {
	live, err := headcount.New(headcount.Options{})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/live/", http.StripPrefix("/live", live))
	server := &http.Server{Addr: "127.0.0.1:0", Handler: mux}
	go func() { _ = server.ListenAndServe() }()

	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	fmt.Println(live.Shutdown(ctx)) // shut down headcount before the server, which would wait for streams
	fmt.Println(server.Shutdown(ctx))
	// Output:
	// <nil>
	// <nil>
}

// With Echo, streams pass through its middleware without compression or time limits.
func ExampleServer_echo() {
	live, err := headcount.New(headcount.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer live.Shutdown(context.Background())
	e := echo.New()
	e.Use(middleware.Recover(), middleware.Gzip(), middleware.RequestID())
	e.Any("/live/*", echo.WrapHandler(http.StripPrefix("/live", live)))

	server := httptest.NewServer(e)
	defer server.Close()
	stream, err := http.Get(server.URL + "/live/events")
	if err != nil {
		log.Fatal(err)
	}
	defer stream.Body.Close()
	for lines := bufio.NewScanner(stream.Body); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			fmt.Println("user count", data)
			break
		}
	}
	// Output: user count 1
}

// Only logged-in users may subscribe to rooms whose names begin with "team-". Only the program itself emits.
func ExampleOptions_authorize() {
	user := func(r *http.Request) string { // for example from your session
		if c, err := r.Cookie("session"); err == nil {
			return c.Value
		}
		return ""
	}
	live, err := headcount.New(headcount.Options{
		Authorize: func(r *http.Request, want headcount.Access) error {
			switch {
			case want.Event != "":
				return fmt.Errorf("only the program emits here")
			case strings.HasPrefix(want.Room, "team-") && user(r) == "":
				return fmt.Errorf("log in first: %w", headcount.ErrUnauthenticated)
			}
			return nil
		},
		Identify: user, // one user, however many tabs it has
	})
	if err != nil {
		log.Fatal(err)
	}
	defer live.Shutdown(context.Background())
	answer := httptest.NewRecorder()
	live.ServeHTTP(answer, httptest.NewRequest("GET", "/count?room=team-a", nil))
	fmt.Println(answer.Code)
	// Output: 401
}

func ExampleServer_Emit() {
	live, err := headcount.New(headcount.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer live.Shutdown(context.Background())
	first, err := live.Emit(context.Background(), headcount.Event{Name: "news", Data: map[string]int{"goals": 1}, Key: "goal 1"})
	if err != nil {
		log.Fatal(err)
	}
	again, err := live.Emit(context.Background(), headcount.Event{Name: "news", Data: map[string]int{"goals": 1}, Key: "goal 1"})
	fmt.Println(first == again, err)
	_, err = live.Emit(context.Background(), headcount.Event{Name: "user count", Data: 1_000_000})
	fmt.Println(err)
	// Output:
	// true <nil>
	// headcount: name is reserved: event "user count" is the server's own; choose another name
}

// A program that used the server of github.com/r3labs/sse/v2 keeps its events.
func ExampleServer_Publish() {
	live, err := headcount.New(headcount.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer live.Shutdown(context.Background())
	fmt.Println(live.Publish("lobby", &sse.Event{Event: []byte("news"), Data: []byte("hi")}))
	// Output: <nil>
}

func ExampleServer_Watch() {
	live, err := headcount.New(headcount.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer live.Shutdown(context.Background())
	server := httptest.NewServer(live)
	defer server.Close()

	for users := range live.Watch(context.Background(), "lobby") {
		fmt.Println(users)
		if users == 1 {
			break
		}
		stream, err := http.Get(server.URL + "/events")
		if err != nil {
			log.Fatal(err)
		}
		defer stream.Body.Close()
	}
	// Output:
	// 0
	// 1
}

// A program that restarts itself hands the state of headcount to its next process. Here both are in one process.
func ExampleServer_Freeze() {
	old, err := headcount.New(headcount.Options{Linger: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(old)
	defer server.Close()
	stream, err := http.Get(server.URL + "/events?id=reader-1")
	if err != nil {
		log.Fatal(err)
	}
	defer stream.Body.Close()
	_, _ = stream.Body.Read(make([]byte, 1))

	frozen, err := old.Freeze()
	if err != nil {
		log.Fatal(err)
	}
	state, err := frozen.Bytes()
	if err != nil {
		log.Fatal(err)
	}
	// The next process gets the state. Without the descriptors of the streams, it waits for their clients.
	snapshot, err := headcount.ReadSnapshot(state, nil)
	if err != nil {
		log.Fatal(err)
	}
	next, err := headcount.New(headcount.Options{Linger: time.Minute, Resume: snapshot})
	if err != nil {
		log.Fatal(err)
	}
	next.Thaw()
	// The old process passes on the requests that still reach it.
	fmt.Println(old.Release(context.Background(), next))
	resp, err := http.Get(server.URL + "/count")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	count, _ := io.ReadAll(resp.Body)
	fmt.Print(string(count))
	fmt.Println(next.Shutdown(context.Background()))
	// Output:
	// <nil>
	// {"room":"lobby","users":1}
	// <nil>
}
