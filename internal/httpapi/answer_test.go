package httpapi_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"headcount/internal/auth"
)

// Bad input gets one sentence and disturbs nobody else.
func TestBadInput(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`"abcdefgh",`, 101), ",")
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		watcher := b.Open("")
		for _, tt := range []struct {
			name, method, path, body string
			status                   int
			want                     string // in the sentence
		}{
			{"empty room", "GET", "/events?room=", "", 400, "room is empty"},
			{"empty room by its other name", "GET", "/events?stream=", "", 400, "room is empty"},
			{"long room", "GET", "/events?room=" + strings.Repeat("a", 129), "", 400, "129 bytes"},
			{"NUL in room", "GET", "/events?room=a%00", "", 400, "control character"},
			{"newline in room", "GET", "/events?room=a%0ab", "", 400, "control character"},
			{"room that is no UTF-8", "GET", "/events?room=%ff", "", 400, "UTF-8"},
			{"short id", "GET", "/events?id=abcdefg", "", 400, "8 to 64"},
			{"long id", "GET", "/events?id=" + strings.Repeat("a", 65), "", 400, "8 to 64"},
			{"empty id", "GET", "/events?id=", "", 400, "8 to 64"},
			{"id with a dot", "GET", "/events?id=abcdefg.", "", 400, "8 to 64"},
			{"query", "GET", "/events?%", "", 400, "query"},
			{"query of count", "GET", "/count?%", "", 400, "query"},
			{"room of count", "GET", "/count?room=", "", 400, "room is empty"},
			{"leave without body", "POST", "/leave", "", 400, "body is not"},
			{"leave with half a body", "POST", "/leave", `{"ids":[`, 400, "body is not"},
			{"leave of a number", "POST", "/leave", `{"ids":1}`, 400, "body is not"},
			{"leave of nobody", "POST", "/leave", `{}`, 400, "0 entries"},
			{"leave of a bad id", "POST", "/leave", `{"ids":["abcdefgh","x"]}`, 400, "ids[1]"},
			{"leave of too many", "POST", "/leave", `{"ids":[` + many + `]}`, 400, "101 entries"},
			{"leave of a bad room", "POST", "/leave", `{"room":"\u0000","ids":["abcdefgh"]}`, 400, "control character"},
			{"leave with a large body", "POST", "/leave", strings.Repeat(" ", 16<<10+1), 413, "larger"},
			{"emit without token", "POST", "/emit", `{"event":"x"}`, 403, "-token"},
		} {
			if words := b.Do(tt.method, tt.path, tt.body).WantError(t, tt.status); !strings.Contains(words, tt.want) {
				t.Errorf("%s: got %q, want something with %q", tt.name, words, tt.want)
			}
		}
		watcher.WantCounts("1")
		if err := watcher.Ended(); err != nil {
			t.Errorf("a stream ended with %v", err)
		}
	})
}

// A client that writes a body that is too large before it reads the response still sees the reason. A client with
// Expect gets the refusal at once.
func TestHugeBody(t *testing.T) {
	const size = 10 << 20
	for name, tt := range map[string]struct{ header, body string }{
		"all at once": {"", strings.Repeat(" ", size)},
		"asks first":  {"Expect: 100-continue\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, b *rig) {
				conn, err := b.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
				head := fmt.Sprintf("POST /leave HTTP/1.1\r\nHost: headcount.test\r\nContent-Length: %d\r\n%s\r\n", size, tt.header)
				if _, err := io.WriteString(conn, head+tt.body); err != nil {
					t.Fatalf("write request: %v", err)
				}
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatalf("read answer: %v", err)
				}
				if resp.StatusCode != http.StatusRequestEntityTooLarge {
					t.Errorf("got %s, want 413", resp.Status)
				}
			})
		})
	}
}

func TestCountAnswers(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		b.Open("room=a%20b")
		for _, tt := range []struct{ path, accept, want string }{
			{"/count", "", `{"room":"lobby","users":0}`},
			{"/count?room=a%20b", "*/*", `{"room":"a b","users":1}`},
			{"/count?stream=a%20b", "application/json", `{"room":"a b","users":1}`},
			{"/count?room=a%20b", "text/plain", "1"},
			{"/count?room=a%20b", "TEXT/plain;charset=utf-8", "1"},
			{"/count?room=a%20b", "text/*", "1"},
			{"/count?room=a%20b", "text/plain, */*", "1"},
			{"/count?room=a%20b", "text/html, text/plain;q=0.9, */*;q=0.1", "1"},
			{"/count?room=a%20b", "application/json;q=0.2, text/plain;q=0.3, */*", "1"},
			{"/count?room=a%20b", "application/json, text/plain, */*", `{"room":"a b","users":1}`},
			{"/count?room=a%20b", "text/plain;q=0", `{"room":"a b","users":1}`},
			{"/count?room=a%20b", "text/plain;q=0.5, application/json", `{"room":"a b","users":1}`},
			{"/count?room=a%20b", "text/html,application/xhtml+xml,*/*;q=0.8", `{"room":"a b","users":1}`},
			{"/count?room=a;b", "", `{"room":"a;b","users":0}`},
		} {
			a := b.Do("GET", tt.path, "", "Accept", tt.accept)
			if got := strings.TrimSpace(a.Body); got != tt.want || a.StatusCode != 200 {
				t.Errorf("%s %s: got %s %s, want %s", tt.path, tt.accept, a.Status, got, tt.want)
			}
			if a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s may be cached: %v", tt.path, a.Header)
			}
		}
	})
}

// Pages of other origins may subscribe only if they are named.
func TestOrigins(t *testing.T) {
	for _, tt := range []struct {
		name    string
		origins []string
		header  []string
		status  int
		allow   string // Access-Control-Allow-Origin
	}{
		{"no browser", nil, nil, 200, ""},
		{"same host", nil, []string{"Origin", "http://headcount.test"}, 200, ""},
		{"same host, behind TLS", nil, []string{"Origin", "https://headcount.test"}, 200, ""},
		{"same origin, host rewritten", nil, []string{"Origin", "https://public.test", "Sec-Fetch-Site", "same-origin"}, 200, ""},
		{"other, whose page may read why", nil, []string{"Origin", "https://evil.test"}, 403, "https://evil.test"},
		{"other that says cross-site", nil, []string{"Origin", "https://evil.test", "Sec-Fetch-Site", "cross-site"}, 403, "https://evil.test"},
		{"sandboxed", nil, []string{"Origin", "null"}, 403, "null"},
		{"named", []string{"https://friend.test"}, []string{"Origin", "https://friend.test"}, 200, "https://friend.test"},
		{"not the one named", []string{"https://friend.test"}, []string{"Origin", "https://friend.test.evil.test"}, 403, "https://friend.test.evil.test"},
		{"any", []string{"*"}, []string{"Origin", "https://evil.test"}, 200, "https://evil.test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, options{Origins: tt.origins}, func(t *testing.T, b *rig) {
				for _, path := range []string{"/count", "/events"} {
					method := "GET"
					if path == "/events" {
						method = "HEAD"
					}
					a := b.Do(method, path, "", tt.header...)
					if a.StatusCode != tt.status || a.Header.Get("Access-Control-Allow-Origin") != tt.allow {
						t.Errorf("%s: got %s and allowed %q, want %d and %q", path, a.Status,
							a.Header.Get("Access-Control-Allow-Origin"), tt.status, tt.allow)
					}
					if !strings.Contains(fmt.Sprint(a.Header.Values("Vary")), "Origin") {
						t.Errorf("%s does not vary by Origin: %v", path, a.Header)
					}
					// "if credentials mode is "include", then" the response has to allow it.
					if credentials := a.Header.Get("Access-Control-Allow-Credentials"); (credentials == "true") != (tt.allow != "") {
						t.Errorf("%s: got credentials %q with allowed %q", path, credentials, tt.allow)
					}
				}
			})
		})
	}
}

// A page of another origin gets the reason of the refusal, and the log gets one line for each origin.
func TestRefusedOriginIsTold(t *testing.T) {
	var log bytes.Buffer
	inBubble(t, options{Log: slog.New(slog.NewTextHandler(&log, nil))}, func(t *testing.T, b *rig) {
		for range 3 {
			for _, origin := range []string{"https://a.test", "https://b.test"} {
				a := b.Do("GET", "/events", "", "Origin", origin)
				if words := a.WantError(t, 403); !strings.Contains(words, "-origins") || a.Header.Get("Access-Control-Allow-Origin") != origin {
					t.Errorf("got %q with %v, want a sentence that the page may read", words, a.Header)
				}
			}
		}
		for n := range 1000 {
			b.Do("GET", "/count", "", "Origin", fmt.Sprintf("https://%d.test", n))
		}
	})
	for _, origin := range []string{"https://a.test", "https://b.test"} {
		if n := strings.Count(log.String(), "origin="+origin); n != 1 {
			t.Errorf("got %d lines for %s, want 1", n, origin)
		}
	}
	if n := strings.Count(log.String(), "\n"); n > 200 {
		t.Errorf("strangers have had %d lines logged, want few", n)
	}
}

// Named origins may send the headers of EventSource libraries that use fetch. Other origins may not.
func TestPreflight(t *testing.T) {
	inBubble(t, options{Origins: auth.Origins{"https://friend.test"}}, func(t *testing.T, b *rig) {
		for _, tt := range []struct {
			path, method, origin string
			status               int
		}{
			{"/events", "GET", "https://friend.test", 204},
			{"/count", "GET", "https://friend.test", 204},
			{"/alive", "POST", "https://friend.test", 204},
			{"/leave", "POST", "https://friend.test", 204},
			{"/events", "GET", "https://evil.test", 405},
			{"/events", "GET", "http://headcount.test", 405}, // the server's own pages need no preflight
			{"/events", "GET", "", 405},
			{"/events", "", "https://friend.test", 405}, // it names no method
			{"/emit", "POST", "https://friend.test", 405},
		} {
			header := []string{"Access-Control-Request-Headers", "last-event-id"}
			for name, value := range map[string]string{"Origin": tt.origin, "Access-Control-Request-Method": tt.method} {
				if value != "" {
					header = append(header, name, value)
				}
			}
			a := b.Do("OPTIONS", tt.path, "", header...)
			if a.StatusCode != tt.status {
				t.Errorf("%+v: got %s", tt, a.Status)
			}
			if tt.status != 204 {
				if got := a.Header.Get("Access-Control-Allow-Headers") + a.Header.Get("Access-Control-Allow-Origin"); got != "" {
					t.Errorf("%+v: %q is allowed, want nothing", tt, got)
				}
				continue
			}
			for name, want := range map[string]string{
				"Access-Control-Allow-Origin": tt.origin, "Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": tt.method,
				"Access-Control-Allow-Headers": "Last-Event-ID, Cache-Control, Authorization, X-Requested-With", "Access-Control-Max-Age": "7200", "Vary": "Origin",
			} {
				if got := a.Header.Get(name); !strings.Contains(got, want) {
					t.Errorf("%+v: got %s %q, want %q", tt, name, got, want)
				}
			}
		}
	})
}

// A page of another origin may read Retry-After.
func TestRetryAfterOfOtherOrigin(t *testing.T) {
	inBubble(t, options{Origins: auth.Origins{"*"}, MaxStreams: 1}, func(t *testing.T, b *rig) {
		b.Open("")
		a := b.Do("GET", "/events", "", "Origin", "https://friend.test")
		a.WantError(t, 503)
		if got := a.Header.Get("Access-Control-Expose-Headers"); got != "Retry-After" {
			t.Errorf("got %q exposed, want Retry-After", got)
		}
	})
}
