package subscribe

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"headcount/client/remote"
)

// A response without events does not come from a headcount server, or not at this time.
func TestNoStream(t *testing.T) {
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   string
	}{
		{"login page", func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/html") }, `it answers with "text/html", not with events; is it a headcount server?`},
		{"no type", func(w http.ResponseWriter) { w.Header()["Content-Type"] = nil }, `it answers with "", not with events; is it a headcount server?`},
		{"not here", func(w http.ResponseWriter) { w.WriteHeader(http.StatusMethodNotAllowed) }, "it answers 405 Method Not Allowed"},
		{"error in words", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write([]byte("{\"error\":\"come back later\\u001b\"}"))
		}, "it answers 503 Service Unavailable: come back later\uFFFD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(func(_ int, w *stream) { tt.answer(w.w) })
				in(t, s, func() { time.Sleep(10 * time.Second) })
				if n := len(s.seen("/events")); n < 2 {
					t.Errorf("got %d requests, want more", n)
				}
				if len(s.told) < 3 || slices.ContainsFunc(s.told[1:], func(told string) bool { return told != "lost: "+tt.want }) {
					t.Errorf("got %q, want connecting and then %q only", s.told, tt.want)
				}
			})
		})
	}
}

// If a retry cannot help, the subscription ends with the reason and sends no more requests.
func TestGivesUp(t *testing.T) {
	own := func(status int) func(n int, w *stream) {
		return func(_ int, w *stream) { http.Error(w.w, `{"error":"this room is private"}`, status) }
	}
	plain := func(status int, body string) func(n int, w *stream) {
		return func(_ int, w *stream) { http.Error(w.w, body, status) }
	}
	once := func(then func(n int, w *stream)) func(n int, w *stream) {
		return func(n int, w *stream) {
			if n > 0 {
				then(n, w)
				return
			}
			w.send(hello)
		}
	}
	tests := []struct {
		name   string
		answer func(n int, w *stream)
		want   string // empty: the subscription continues
	}{
		{"the server wants a token", own(401), "401 Unauthorized: this room is private"},
		{"the server refuses", own(403), "403 Forbidden: this room is private"},
		{"after it worked", once(own(401)), "401 Unauthorized"},
		{"nothing is there", plain(404, "<html>"), "404 Not Found"},
		{"the port speaks TLS", plain(400, "Client sent an HTTP request to an HTTPS server.\n"), "use https://"},
		{"something refuses", plain(403, "<html>"), ""},
		{"the address has gone for a moment", once(plain(404, "<html>")), ""},
		{"the server is full", own(503), ""},
		{"the server is asked too much", own(429), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(tt.answer)
				s.start()
				time.Sleep(time.Minute)
				select {
				case err := <-s.done:
					s.done <- nil // end reads it
					if tt.want == "" || err == nil || !strings.Contains(remote.Reason(err), tt.want) {
						t.Errorf("ended with %v, want %q", err, tt.want)
					}
				default:
					if tt.want != "" {
						t.Errorf("goes on, want an end with %q", tt.want)
					}
				}
				s.end()
			})
		})
	}
}

// A host name that does not exist ends the subscription only at the first attempt. Later DNS may be away.
func TestNoSuchHost(t *testing.T) {
	unknown := &net.DNSError{Err: "no such host", Name: "headcount.test", IsNotFound: true}
	tests := []struct {
		name  string
		dials []error // of the connections in their order; all later ones succeed
		ends  bool
	}{
		{"at the first attempt", []error{unknown}, true},
		{"for a moment", []error{&net.DNSError{Err: "server misbehaving", IsNotFound: true, IsTemporary: true}}, false},
		{"at the second attempt", []error{syscall.ECONNREFUSED, unknown, unknown}, false},
		{"after it worked", []error{nil, unknown, unknown}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(func(n int, w *stream) {
					w.send(hello)
					if n == 0 {
						w.cut()
					}
					w.hold()
				})
				transport := s.Server.HTTP.Transport.(*http.Transport)
				dial := transport.DialContext
				var dials atomic.Int32
				transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if n := int(dials.Add(1)) - 1; n < len(tt.dials) && tt.dials[n] != nil {
						return nil, &net.OpError{Op: "dial", Net: network, Err: tt.dials[n]}
					}
					return dial(ctx, network, addr)
				}
				s.start()
				time.Sleep(time.Minute)
				select {
				case err := <-s.done:
					s.done <- nil // end reads it
					if want := "the host name headcount.test does not exist"; !tt.ends || err == nil || remote.Reason(err) != want {
						t.Errorf("ended with %v, want %q only at the first attempt", err, want)
					}
				default:
					if tt.ends || len(s.seen("/events")) == 0 {
						t.Errorf("goes on with %d streams, want an end or streams", len(s.seen("/events")))
					}
				}
				s.end()
			})
		})
	}
}

// Polls do not ask for an event stream, because some middleboxes refuse event streams.
func TestAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(_ int, w *stream) {
			if w.r.Header.Get("Accept") == "text/event-stream" {
				w.w.WriteHeader(http.StatusForbidden)
				return
			}
			w.wait(time.Second)
			w.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.w.Write([]byte(hello + "id: a.1.b.1\nevent: user count\ndata: 1\n\n"))
		})
		in(t, s, func() { time.Sleep(10 * time.Second) })
		if want := []string{"user count 1"}; !slices.Equal(s.out, want) {
			t.Errorf("got events %q, want %q", s.out, want)
		}
	})
}

// All later requests follow a redirect, for instance from http to https. These are streams, answers to pings and the
// goodbye.
func TestRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(func(_ int, w *stream) {
					if !strings.HasPrefix(w.r.URL.Path, "/live/") {
						http.Redirect(w.w, w.r, "http://live.headcount.test/live"+w.r.URL.RequestURI(), status)
						return
					}
					w.send("event: io:hello\ndata: {\"ping\":25,\"heartbeat\":10}\n\n")
					w.hold()
				})
				in(t, s, func() { time.Sleep(time.Second) })
				for _, path := range []string{"/alive", "/leave"} {
					if got := s.seen("/live" + path); len(got) != 1 || got[0].method != http.MethodPost || len(got[0].body.IDs) != 1 || len(s.seen(path)) > 0 {
						t.Errorf("got %+v for %s, want one POST with the id at the new address", got, path)
					}
				}
			})
		})
	}
}
