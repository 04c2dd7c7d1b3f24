package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzRequest checks that no path and no header makes a handler panic or fail. Each refusal is one sentence.
func FuzzRequest(f *testing.F) {
	for _, head := range []string{
		"GET / HTTP/1.1", "HEAD /events HTTP/1.1", "GET /events?room=a&id=abcdefgh HTTP/1.0", "GET /events?poll=1&lastEventId=%zz HTTP/1.1\r\nLast-Event-ID: \x01", "GET /count?room=%ff HTTP/1.1\r\nAccept: text/plain;q=1e9",
		"GET /assets/io.js HTTP/1.1\r\nAccept-Encoding: gzip;q=, gzip;q=0.x\r\nIf-None-Match: W/\"x\", *", "GET /assets/../server HTTP/1.1", "GET /assets/%2e%2e/%00 HTTP/1.1", "GET /badge.svg?room=<b> HTTP/1.1", "GET /?room=%3Cscript%3E HTTP/1.1",
		"GET /doctor/stream?gaps=1,NaN,-1,1e400 HTTP/1.1", "GET /doctor/socket HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x", "OPTIONS /emit HTTP/1.1\r\nOrigin: null", "GET /events HTTP/1.1\r\nOrigin: http://[::1", "PUT /leave HTTP/1.1", "CONNECT a:1 HTTP/1.1",
		"GET //events HTTP/1.1", "GET http://other/events HTTP/1.1", "GET /readyz HTTP/1.1", "GET /stats HTTP/1.1", "POST /emit HTTP/1.1\r\nAuthorization: Bearer\r\nContent-Type: multipart/form-data; boundary=", "POST /leave HTTP/1.1\r\nContent-Length: 5",
	} {
		f.Add(head+"\r\nHost: headcount.test\r\nUser-Agent: Mozilla/5.0\r\n\r\n", "{}")
	}
	s := newFuzzed(f, options{Token: "secret", Origins: []string{"https://named.test"}})
	gone, cancel := context.WithCancel(f.Context())
	cancel() // streams end at once
	f.Fuzz(func(t *testing.T, head, body string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + body)))
		if err != nil {
			t.Skip("not for a handler")
		}
		r.RemoteAddr = "192.0.2.1:1"
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(hijackable{w}, r.WithContext(gone))
		if w.Code == http.StatusInternalServerError || w.Code < 200 {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		if w.Code >= 400 && r.Method != http.MethodHead {
			var sentence struct{ Error string }
			if err := json.Unmarshal(w.Body.Bytes(), &sentence); err != nil || sentence.Error == "" {
				t.Errorf(`got %d %q, want {"error":"…"}`, w.Code, w.Body)
			}
		}
		for name, values := range w.Header() {
			if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") {
				t.Errorf("header %q: %q", name, values)
			}
		}
		// The page of a refused origin may read the reason and nothing else.
		if origin := w.Header().Get("Access-Control-Allow-Origin"); w.Header().Get("Access-Control-Allow-Credentials") != "" && origin != "https://named.test" && w.Code != http.StatusForbidden {
			t.Errorf("pages of %q are trusted", origin)
		}
	})
}

// hijackable returns a connection whose other end is closed.
type hijackable struct{ *httptest.ResponseRecorder }

func (hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	here, there := net.Pipe()
	return here, nil, there.Close()
}
