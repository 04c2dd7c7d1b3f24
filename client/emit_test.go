package main

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
	"testing"
	"testing/synctest"
	"time"
)

// post is what the server saw of one attempt.
type post struct {
	at               time.Duration // since the beginning
	key, token, kind string
	body             struct {
		Event, Room string
		Data        json.RawMessage
	}
}

// emitScene is an emitter and a real HTTP server that speak over net.Pipe, in a synctest bubble.
type emitScene struct {
	*emitter
	out, err bytes.Buffer
	posts    []post // touched by one request at a time
	close    func()
}

// newEmitScene starts a server with the given answer to the n-th POST, n from 0.
func newEmitScene(o *options, answer func(n int, w http.ResponseWriter)) *emitScene {
	s := &emitScene{}
	begin := time.Now()
	listener := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := post{
			at: time.Since(begin), key: r.Header.Get("Idempotency-Key"),
			token: r.Header.Get("Authorization"), kind: r.Method + " " + r.URL.Path,
		}
		json.NewDecoder(r.Body).Decode(&p.body)
		s.posts = append(s.posts, p)
		answer(len(s.posts)-1, w)
	})}
	go server.Serve(listener)
	base, _ := url.Parse("http://headcount.test")
	s.emitter = newEmitter(base, o, "news", streams{nil, &s.out, &s.err})
	transport := s.http.Transport.(*http.Transport)
	transport.Proxy = nil
	transport.DialContext = listener.dial
	s.close = func() { s.http.CloseIdleConnections(); server.Close() }
	return s
}

func accept(w http.ResponseWriter) { io.WriteString(w, `{"id":"e.1", "room":"lobby"}`+"\n") }

// What may have arrived is sent again with the same key, until the server says so.
func TestEmitRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEmitScene(&options{room: "lobby", token: "secret"}, func(n int, w http.ResponseWriter) {
			switch n {
			case 0:
				panic(http.ErrAbortHandler) // taken, and the answer lost
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
		if err := s.emitText(t.Context(), []byte(`{"a": [1.50, "<b>"]}`)); err != nil {
			t.Fatal(err)
		}
		if len(s.posts) != 5 {
			t.Fatalf("got %d attempts, want 5", len(s.posts))
		}
		for i, p := range s.posts {
			if p.key == "" || p.key != s.posts[0].key {
				t.Errorf("attempt %d: got key %q, want the first one's, %q", i, p.key, s.posts[0].key)
			}
			if p.kind != "POST /emit" || p.token != "Bearer secret" || p.body.Event != "news" || p.body.Room != "lobby" ||
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
		for _, want := range []string{"connection broke; trying again", "502", "no answer in time", "history cannot be kept", "accepted by http://headcount.test now"} {
			if strings.Count(s.err.String(), want) != 1 {
				t.Errorf("got %q on standard error, want %q once", s.err.String(), want)
			}
		}
	})
}

// A server that is away is given half a minute, told of once.
func TestEmitGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEmitScene(&options{room: "lobby"}, func(n int, w http.ResponseWriter) {
			if n > 100 {
				accept(w) // so that the test ends
				return
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		defer s.close()
		begin := time.Now()
		err := s.emitText(t.Context(), []byte("x"))
		var unanswered *unansweredError
		if !errors.As(err, &unanswered) || !strings.Contains(err.Error(), "503") {
			t.Errorf("got error %v, want that nothing helped", err)
		}
		if took := time.Since(begin); took > emitTime || took < emitTime/3 {
			t.Errorf("gave up after %v, want at most %v", took, emitTime)
		}
		if n := len(s.posts); n < 5 || n > 20 {
			t.Errorf("got %d attempts, want 5 to 20", n)
		}
		if got := s.err.String(); strings.Count(got, "\n") != 1 || strings.Count(got, "not accepted") != 1 || s.out.Len() > 0 {
			t.Errorf("got output %q and error %q, want none and one line", s.out.String(), got)
		}
	})
}

// What the server refuses is not sent again, and the error is the server's own sentence.
func TestEmitRefused(t *testing.T) {
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   string
	}{
		{"token", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":"wrong or no token"}`)
		}, "401 Unauthorized: wrong or no token; here it goes into -token"},
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
				s := newEmitScene(&options{room: "lobby"}, func(_ int, w http.ResponseWriter) { tt.answer(w) })
				defer s.close()
				err := s.emitText(t.Context(), []byte("x"))
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

// Each line is an event with a key of its own, sent when the one before is accepted; a refused one is the last.
func TestEmitLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := 0
		s := newEmitScene(&options{room: "lobby", json: true}, func(n int, w http.ResponseWriter) {
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
		err := s.emitLines(t.Context(), strings.NewReader("1\r\n{\"a\":\n\nnull\n\"é\"\nlong\nnever sent\n"))
		if err == nil || !strings.Contains(err.Error(), "line 6: event not accepted") || !strings.Contains(err.Error(), "413") {
			t.Errorf("got error %v, want that of line 6", err)
		}
		var got, keys []string
		for _, p := range s.posts {
			got = append(got, string(p.body.Data))
			keys = append(keys, p.key)
		}
		if want := []string{`1`, `"{\"a\":"`, `""`, `null`, `"é"`, `"long"`}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
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
		{"not UTF-8", "1\n\xff\n2\n", 1, errNotUTF8},
		{"too long", "1\n" + strings.Repeat("x", maxEvent+1), 1, errLongInput},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newEmitScene(&options{room: "lobby"}, func(_ int, w http.ResponseWriter) { accept(w) })
				defer s.close()
				if err := s.emitLines(t.Context(), strings.NewReader(tt.in)); !errors.Is(err, tt.want) {
					t.Errorf("got error %v, want %v", err, tt.want)
				}
				if len(s.posts) != tt.posts {
					t.Errorf("got %d events, want %d", len(s.posts), tt.posts)
				}
			})
		})
	}
}

// Ctrl-C ends at once, whatever standard input and the server do, and says that an event is in doubt.
func TestEmitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEmitScene(&options{room: "lobby"}, func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
		defer s.close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		in, feed := io.Pipe()
		defer feed.Close()
		begin := time.Now()
		if err := s.emitLines(ctx, in); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 3*time.Second {
			t.Errorf("waiting for input: got %v after %v, want the end of the context after 3 s", err, time.Since(begin))
		}
		ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin = time.Now()
		if err := s.emitText(ctx, []byte("x")); !errors.Is(err, errInDoubt) || time.Since(begin) != 3*time.Second {
			t.Errorf("waiting for the server: got %v after %v, want that the event is in doubt after 3 s", err, time.Since(begin))
		}
		if !strings.Contains(s.err.String(), "ended before http://headcount.test said") {
			t.Errorf("got %q on standard error, want that the event is in doubt", s.err.String())
		}
	})
}

func TestCutURL(t *testing.T) {
	tests := []struct{ name, args, url, rest string }{
		{"event alone", "news", defaultURL, "news"},
		{"event and data", "news hi", defaultURL, "news hi"},
		{"dots are no URL", "build.done 1", defaultURL, "build.done 1"},
		{"scheme", "https://example.org news", "https://example.org", "news"},
		{"port", "example.org:80 news", "http://example.org:80", "news"},
		{"port and path", "[::1]:80/events news", "http://[::1]:80", "news"},
		{"localhost", "localhost news", "http://localhost", "news"},
		{"three are clear", "example.org news hi", "http://example.org", "news hi"},
		{"data with a port", "news example.org:80", defaultURL, "news example.org:80"},
		{"URL alone", "localhost:80", "http://localhost:80", ""},
		{"nothing", "", defaultURL, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, rest, err := cutURL(strings.Fields(tt.args))
			if err != nil || u.String() != tt.url || strings.Join(rest, " ") != tt.rest {
				t.Errorf("got %v, %q, %v; want %s, %q", u, rest, err, tt.url, tt.rest)
			}
		})
	}
}
