package emit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headcount/client/remote"
	"headcount/client/remote/remotetest"
)

// post is one attempt as the server received it.
type post struct {
	at               time.Duration // since the start
	key, token, kind string
	body             struct {
		Event, Room string
		Data        json.RawMessage
	}
}

// scene is an emitter and a real HTTP server in a synctest bubble.
type scene struct {
	*Emitter
	out   bytes.Buffer
	told  []string
	posts []post // used by one request at a time
	close func()
}

// newScene starts a server with the given answer to the n-th POST, n from 0.
func newScene(answer func(n int, w http.ResponseWriter)) *scene {
	s := &scene{}
	begin := time.Now()
	base, _ := url.Parse("http://headcount.test")
	server := remote.New(base, "secret")
	s.close = remotetest.Start(server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := post{
			at: time.Since(begin), key: r.Header.Get("Idempotency-Key"),
			token: r.Header.Get("Authorization"), kind: r.Method + " " + r.Host + r.URL.Path,
		}
		json.NewDecoder(r.Body).Decode(&p.body)
		s.posts = append(s.posts, p)
		answer(len(s.posts)-1, w)
	}))
	s.Emitter = &Emitter{
		Server: server, Room: "lobby", Event: "news", Out: &s.out,
		Retrying: func(err error) { s.told = append(s.told, "retrying: "+remote.Reason(err)) },
		Accepted: func() { s.told = append(s.told, "accepted") },
		Quoted:   func(err error) { s.told = append(s.told, "quoted: "+err.Error()) },
	}
	return s
}

func accept(w http.ResponseWriter) { io.WriteString(w, `{"id":"e.1", "room":"lobby"}`+"\n") }

// An event that may have arrived is sent again with the same key until the server confirms it.
func TestEmitRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(n int, w http.ResponseWriter) {
			switch n {
			case 0:
				panic(http.ErrAbortHandler) // accepted, but the answer is lost
			case 1:
				w.WriteHeader(http.StatusBadGateway)
			case 2:
				time.Sleep(attemptTime + time.Second)
			case 3:
				w.Header().Set("Retry-After", "5")
				w.WriteHeader(http.StatusServiceUnavailable)
				io.WriteString(w, `{"error":"history cannot be kept"}`)
			default:
				accept(w)
			}
		})
		defer s.close()
		if err := s.Text(t.Context(), []byte(`{"a": [1.50, "<b>"]}`)); err != nil {
			t.Fatal(err)
		}
		if len(s.posts) != 5 {
			t.Fatalf("got %d attempts, want 5", len(s.posts))
		}
		for i, p := range s.posts {
			if p.key == "" || p.key != s.posts[0].key {
				t.Errorf("attempt %d: got key %q, want the first one's, %q", i, p.key, s.posts[0].key)
			}
			if p.kind != "POST headcount.test/emit" || p.token != "Bearer secret" || p.body.Event != "news" || p.body.Room != "lobby" ||
				string(p.body.Data) != `{"a":[1.50,"<b>"]}` {
				t.Errorf("attempt %d: got %+v, data %s", i, p, p.body.Data)
			}
		}
		if wait := s.posts[4].at - s.posts[3].at; wait < 5*time.Second {
			t.Errorf("came back %v after Retry-After: 5", wait)
		}
		if got := s.out.String(); got != "e.1\n" {
			t.Errorf("got output %q, want the id", got)
		}
		want := []string{
			"retrying: the connection broke", "retrying: it answers 502 Bad Gateway", "retrying: no answer in time",
			"retrying: it answers 503 Service Unavailable: history cannot be kept", "accepted",
		}
		if !slices.Equal(s.told, want) {
			t.Errorf("got %q, want %q", s.told, want)
		}
	})
}

// A server that is away gets half a minute, and is reported once.
func TestEmitGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(n int, w http.ResponseWriter) {
			if n > 100 {
				accept(w) // so that the test ends
				return
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		defer s.close()
		begin := time.Now()
		err := s.Text(t.Context(), []byte("x"))
		var unanswered *UnansweredError
		if !errors.As(err, &unanswered) || !strings.Contains(err.Error(), "503") {
			t.Errorf("got error %v, want that nothing helped", err)
		}
		if took := time.Since(begin); took > Limit || took < Limit/3 {
			t.Errorf("gave up after %v, want at most %v", took, Limit)
		}
		if n := len(s.posts); n < 5 || n > 20 {
			t.Errorf("got %d attempts, want 5 to 20", n)
		}
		if s.out.Len() > 0 || len(s.told) != len(s.posts)-1 {
			t.Errorf("got output %q and %q, want none and a line for each attempt but the last", s.out.String(), s.told)
		}
	})
}

// A refused event is not sent again, and the error is the server's own sentence.
func TestEmitRefused(t *testing.T) {
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   string
	}{
		{"token", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":"missing or wrong token"}`)
		}, "401 Unauthorized: missing or wrong token (-token or HEADCOUNT_TOKEN)"},
		{"off", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"error":"emit is off"}`)
		}, "403 Forbidden: emit is off"},
		{"redirect", func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://elsewhere.test/emit")
			w.WriteHeader(http.StatusMovedPermanently)
		}, `points to "https://elsewhere.test/emit"`},
		{"another server", func(w http.ResponseWriter) { io.WriteString(w, "<html>It works!") }, "is it a headcount server?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(func(_ int, w http.ResponseWriter) { tt.answer(w) })
				defer s.close()
				err := s.Text(t.Context(), []byte("x"))
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got error %v, want one with %q", err, tt.want)
				}
				if len(s.posts) != 1 || s.out.Len() > 0 {
					t.Errorf("got %d attempts and output %q, want 1 and none", len(s.posts), s.out.String())
				}
			})
		})
	}
}

// A host name that does not exist ends emit only before the first accepted event. Later DNS may be away.
func TestEmitNoSuchHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(_ int, w http.ResponseWriter) { accept(w) })
		defer s.close()
		transport := s.Server.HTTP.Transport.(*http.Transport)
		dial := transport.DialContext
		var known atomic.Bool
		transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if known.Load() {
				return dial(ctx, network, addr)
			}
			return nil, &net.DNSError{Err: "no such host", Name: "headcount.test", IsNotFound: true}
		}
		begin := time.Now()
		err := s.Text(t.Context(), []byte("1"))
		if want := "event not accepted: the host name headcount.test does not exist"; err == nil || err.Error() != want || time.Since(begin) > 0 {
			t.Errorf("got error %v after %v, want %q at once", err, time.Since(begin), want)
		}
		known.Store(true)
		if err := s.Text(t.Context(), []byte("2")); err != nil {
			t.Error(err)
		}
		known.Store(false)
		s.Server.Reset()
		time.AfterFunc(5*time.Second, func() { known.Store(true) })
		if err := s.Text(t.Context(), []byte("3")); err != nil {
			t.Errorf("got error %v, want that the event is sent again", err)
		}
	})
}

// Each line is an event with its own key. It is sent after the previous one was accepted. A refused event is the last
// one.
func TestEmitLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := 0
		s := newScene(func(n int, w http.ResponseWriter) {
			if under++; under > 1 {
				t.Error("a line was sent before the one before was accepted")
			}
			time.Sleep(time.Second)
			under--
			if n == 5 {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return
			}
			accept(w)
		})
		defer s.close()
		s.JSON = true
		err := s.Lines(t.Context(), strings.NewReader("1\r\n{\"a\":\n\nnull\n\"é\"\n[long\nnever sent\n"))
		if err == nil || !strings.Contains(err.Error(), "line 6: event not accepted") || !strings.Contains(err.Error(), "413") {
			t.Errorf("got error %v, want that of line 6", err)
		}
		var got, keys []string
		for _, p := range s.posts {
			got = append(got, string(p.body.Data))
			keys = append(keys, p.key)
		}
		if want := []string{`1`, `"{\"a\":"`, `""`, `null`, `"é"`, `"[long"`}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if n := strings.Count(strings.Join(s.told, "\n"), "quoted: "); n != 1 {
			t.Errorf("told %d times that text which looks like JSON is sent as a string, want once: %q", n, s.told)
		}
		slices.Sort(keys)
		if len(slices.Compact(keys)) != len(s.posts) {
			t.Error("two lines had the same key")
		}
		if want := strings.Repeat(`{"id":"e.1","room":"lobby"}`+"\n", 5); s.out.String() != want {
			t.Errorf("got output %q, want %q", s.out.String(), want)
		}
	})
}

func TestEmitLinesEnds(t *testing.T) {
	tests := []struct {
		name, in string
		posts    int
		want     error
	}{
		{"nothing", "", 0, nil},
		{"last line without an end", "1\n2", 2, nil},
		{"not UTF-8", "1\n\xff\n2\n", 1, ErrNotUTF8},
		{"too long", "1\n" + strings.Repeat("x", remote.MaxEvent+1), 1, ErrLongInput},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(func(_ int, w http.ResponseWriter) { accept(w) })
				defer s.close()
				if err := s.Lines(t.Context(), strings.NewReader(tt.in)); !errors.Is(err, tt.want) {
					t.Errorf("got error %v, want %v", err, tt.want)
				}
				if len(s.posts) != tt.posts {
					t.Errorf("got %d events, want %d", len(s.posts), tt.posts)
				}
			})
		})
	}
}

// Ctrl-C ends emit at once, whatever standard input and the server do, and reports an event in doubt.
func TestEmitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
		defer s.close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		in, feed := io.Pipe()
		defer feed.Close()
		begin := time.Now()
		if err := s.Lines(ctx, in); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 3*time.Second {
			t.Errorf("waiting for input: got %v after %v, want the end of the context after 3 s", err, time.Since(begin))
		}
		ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin = time.Now()
		if err := s.Text(ctx, []byte("x")); !errors.Is(err, ErrInDoubt) || time.Since(begin) != 3*time.Second {
			t.Errorf("waiting for the server: got %v after %v, want that the event is in doubt after 3 s", err, time.Since(begin))
		}
	})
}

// A server that has moved, for instance from http to https, gets the event at its new address. Another host does not.
func TestEmitFollowsRedirects(t *testing.T) {
	tests := []struct {
		name, to string
		status   int
		posts    []string
	}{
		{"below", "http://www.headcount.test/emit", 301, []string{"POST headcount.test/emit", "POST www.headcount.test/emit"}},
		{"other path", "http://headcount.test/live/emit", 308, []string{"POST headcount.test/emit", "POST headcount.test/live/emit"}},
		{"a stranger", "http://stranger.test/emit", 301, []string{"POST headcount.test/emit"}},
		{"another thing", "http://headcount.test/login", 302, []string{"POST headcount.test/emit"}},
		{"answered elsewhere", "http://headcount.test/live/emit", 303, []string{"POST headcount.test/emit"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(func(n int, w http.ResponseWriter) {
					if n > 0 {
						accept(w)
						return
					}
					w.Header().Set("Location", tt.to)
					w.WriteHeader(tt.status)
				})
				defer s.close()
				err := s.Text(t.Context(), []byte("x"))
				var got []string
				for _, p := range s.posts {
					got = append(got, p.kind)
					if string(p.body.Data) != `"x"` || p.token != "Bearer secret" || p.key != s.posts[0].key {
						t.Errorf("got %+v, want the event with its token and key", p)
					}
				}
				if !slices.Equal(got, tt.posts) || (err == nil) != (len(tt.posts) > 1) {
					t.Errorf("got %q and error %v, want %q", got, err, tt.posts)
				}
			})
		})
	}
}
