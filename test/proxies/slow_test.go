package proxies

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"
)

// slowest is how long the slow box keeps an answer at most: more than a stream that breaks lingers.
const slowest = 6 * time.Second

// startSlow starts a box that lets nothing of an answer of /events pass before it is complete, and keeps
// it for a while then, as one does that scans it. The disguised one shows itself in no header.
func startSlow(t testing.TB, origin string, disguised bool) *Running {
	name := slowBox
	if disguised {
		name += ", disguised"
	}
	box := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: origin})
		if disguised {
			r.Out.Header.Set("Connection", "keep-alive")
		} else {
			r.SetXForwarded()
		}
	}}
	box.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	box.ModifyResponse = func(answer *http.Response) error {
		if answer.Request.URL.Path != "/events" {
			return nil
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return err
		}
		answer.Body.Close()
		answer.Body = io.NopCloser(bytes.NewReader(body))
		select {
		case <-time.After(rand.N(slowest)):
			return nil
		case <-answer.Request.Context().Done():
			return answer.Request.Context().Err()
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: box}}
	server.Start()
	t.Cleanup(server.Close)
	return &Running{Proxy: Proxy{Name: name, Streams: Whole, Hears: AtOnce, Disguised: disguised}, URL: server.URL}
}

const slowBox = "a slow box"
