package headcount_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/r3labs/sse/v2"

	"headcount"
	"headcount/internal/bubble"
)

// server is a headcount in a bubble, mounted under /.
type server struct {
	*bubble.Bubble
	live *headcount.Server
}

func inBubble(t *testing.T, opt headcount.Options, test func(*testing.T, *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opt.Writer = headcount.Portable // the kernel's sockets are outside the bubble
		live, err := headcount.New(opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := live.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		test(t, &server{bubble.Start(t, live), live})
	})
}

// The imports of the library must not include a web framework, a metrics library or a message broker.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		for _, not := range []string{"github.com/labstack", "github.com/prometheus", "github.com/nats-io"} {
			if strings.HasPrefix(pkg, not) {
				t.Errorf("the root package imports %s", pkg)
			}
		}
	}
}

func TestEmit(t *testing.T) {
	inBubble(t, headcount.Options{MaxEvent: 100}, func(t *testing.T, s *server) {
		lobby, other := s.Open(""), s.Open("room=other")
		for _, row := range []struct {
			name string
			e    headcount.Event
			want error
		}{
			{"to the lobby", headcount.Event{Name: "news", Data: []any{1, "<b>"}}, nil},
			{"to a room", headcount.Event{Room: "other", Name: "news"}, nil},
			{"large", headcount.Event{Name: "news", Data: strings.Repeat("x", 200)}, headcount.ErrTooLarge},
			{"reserved", headcount.Event{Name: "io:gap"}, headcount.ErrReservedName},
			{"of EventSource", headcount.Event{Name: "message"}, headcount.ErrReservedName},
			{"without a name", headcount.Event{}, headcount.ErrInvalidName},
			{"to no room", headcount.Event{Room: "a\nb", Name: "news"}, headcount.ErrInvalidName},
		} {
			id, err := s.live.Emit(t.Context(), row.e)
			if !errors.Is(err, row.want) || (id == "") != (err != nil) {
				t.Errorf("%s: got %q, %v, want %v", row.name, id, err, row.want)
			}
		}
		if _, err := s.live.Emit(t.Context(), headcount.Event{Name: "news", Data: func() {}}); err == nil {
			t.Error("a function was emitted")
		}
		for _, e := range []sse.Event{
			{Event: []byte("old"), Data: []byte("hi")}, {Event: []byte("old"), Data: []byte(`{"a":1}`)}, {Event: []byte("old")},
		} {
			if err := s.live.Publish("", &e); err != nil {
				t.Error(err)
			}
		}
		if err := s.live.Publish("lobby", &sse.Event{Data: []byte("hi")}); !errors.Is(err, headcount.ErrInvalidName) {
			t.Errorf("an event without a name: got %v", err)
		}
		if got := fmt.Sprint(lobby.Values("news"), lobby.Values("old"), other.Values("news")); got != `[[1,"<b>"]] ["hi" {"a":1} null] [null]` {
			t.Errorf("got %s", got)
		}
		if a := s.Do("POST", "/emit", "event=news", "Content-Type", "application/x-www-form-urlencoded"); a.StatusCode != http.StatusForbidden {
			t.Errorf("emit over HTTP without Options.Authorize: got %s, want 403", a.Status)
		}
	})
}

// OnJoin and OnLeave get every change in order, and the last number is right.
func TestJoinAndLeave(t *testing.T) {
	var mu sync.Mutex
	var got []string
	told := func(what string) func(string, int) {
		return func(room string, users int) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(what, " ", room, " ", users))
		}
	}
	opt := headcount.Options{OnJoin: told("join"), OnLeave: told("leave"), Linger: -1}
	inBubble(t, opt, func(t *testing.T, s *server) {
		a := s.Open("id=abcdefgh1")
		b := s.Open("id=abcdefgh2")
		s.Open("id=abcdefgh1").Cancel() // another stream of the same user
		a.Cancel()
		b.Cancel()
		s.Open("room=x").Cancel()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		want := []string{"join lobby 1", "join lobby 2", "leave lobby 1", "leave lobby 0", "join x 1", "leave x 0"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestCountAndWatch(t *testing.T) {
	inBubble(t, headcount.Options{}, func(t *testing.T, s *server) {
		ctx, cancel := context.WithCancel(t.Context())
		var seen []int
		var watching sync.WaitGroup
		watching.Go(func() {
			for n := range s.live.Watch(ctx, "") {
				seen = append(seen, n)
			}
		})
		synctest.Wait()
		for range 3 {
			s.Open("")
			time.Sleep(time.Second)
		}
		if n := s.live.Count(""); n != 3 {
			t.Errorf("got %d users, want 3", n)
		}
		cancel()
		watching.Wait()
		if !slices.Equal(seen, []int{0, 1, 2, 3}) {
			t.Errorf("watched %v, want 0 1 2 3", seen)
		}
		for n := range s.live.Watch(t.Context(), "") {
			if n != 3 {
				t.Errorf("a second watch begins with %d, want 3", n)
			}
			break
		}
	})
}

// Shutdown ends streams and watches cleanly, and can be called again. Afterwards new streams are refused.
func TestShutdown(t *testing.T) {
	inBubble(t, headcount.Options{Drain: time.Second}, func(t *testing.T, s *server) {
		streams := []*bubble.Stream{s.Open(""), s.Open("id=abcdefgh1")}
		var watching sync.WaitGroup
		watching.Go(func() {
			for range s.live.Watch(context.Background(), "") {
			}
		})
		var ending sync.WaitGroup
		for range 2 {
			ending.Go(func() {
				if err := s.live.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		ending.Wait()
		watching.Wait()
		for i, st := range streams {
			blocks := st.Got()
			if last := blocks[len(blocks)-1]; last.Retry == "" {
				t.Errorf("stream %d: the last block is %+v, want a retry time", i, last)
			}
		}
		s.Do("GET", "/events", "").WantError(t, http.StatusServiceUnavailable)
		if _, err := s.live.Emit(t.Context(), headcount.Event{Name: "news"}); !errors.Is(err, headcount.ErrUnavailable) {
			t.Errorf("emit afterwards: got %v, want ErrUnavailable", err)
		}
		if a := s.Do("GET", "/count", ""); a.StatusCode != http.StatusOK {
			t.Errorf("count afterwards: got %s", a.Status)
		}
	})
}

// Shutdown cuts a client that reads nothing, and returns an error.
func TestShutdownOfStalledReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live, err := headcount.New(headcount.Options{Writer: headcount.Portable, Drain: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		b := bubble.Start(t, live)
		conn, err := b.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET /events HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		if err := live.Shutdown(t.Context()); err == nil || time.Since(begin) != time.Second {
			t.Errorf("got %v after %v, want an error after a second", err, time.Since(begin))
		}
	})
}

// A user whose name the program knows is one user, whatever its tabs send.
func TestIdentify(t *testing.T) {
	opt := headcount.Options{Identify: func(r *http.Request) string { return r.Header.Get("User") }, Linger: time.Second}
	inBubble(t, opt, func(t *testing.T, s *server) {
		one := s.Open("id=abcdefgh1", "User", "ada")
		two := s.Open("id=abcdefgh2", "User", "ada")
		s.Open("id=abcdefgh3")
		s.WantUsers("lobby", 2)
		s.Do("POST", "/leave", `{"ids":["abcdefgh1"]}`, "User", "ada") // one tab says goodbye
		s.Do("POST", "/leave", `{"ids":["@ada-is-none"]}`).WantError(t, http.StatusBadRequest)
		one.Cancel()
		time.Sleep(2 * time.Second)
		s.WantUsers("lobby", 2)
		two.Cancel()
		time.Sleep(2 * time.Second)
		s.WantUsers("lobby", 1)
	})
}

func TestOptions(t *testing.T) {
	for _, opt := range []headcount.Options{{Heartbeat: time.Millisecond}, {History: -1}, {MaxEvent: -1}} {
		if live, err := headcount.New(opt); err == nil {
			t.Errorf("%+v: no error", opt)
			_ = live.Shutdown(t.Context())
		}
	}
}
