package subscribe

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"

	"headcount/client/remote"
	"headcount/internal/sse"
	"headcount/internal/sse/ssetest"
)

// FuzzStream checks that watch shows the events of any stream that a browser would dispatch, and reconnects with the
// cursor that a browser would send.
func FuzzStream(f *testing.F) {
	for _, text := range []string{
		"id: a.1\nevent: news\ndata: 1\n\n", "data:1\r\rdata:2\r\n\r\n", "\ufeffdata: 1\n\n\ufeffdata: 2\n\n", "data: 1\ndata:\ndata: 2\n\n",
		"data\n\ndata\ndata\n\n", "id: 1\ndata: x\n\nid\ndata: y\n\n", "id: 1\x002\ndata: x\n\n", "event: a\nevent\ndata: x\n\n", "event: a\nevent: b\ndata: x\n\n",
		"retry: 1\nretry: x\ndata: x\n\n", ": c\n\n:\n\ndata: x\n\n", "datax: 1\nidx: 2\n\n", " data: 1\n\n", "data:  two\n\n", "id: 7\n\n", "event: io:gap\ndata: {\"missed\":3}\n\n",
		"event: io:hello\ndata: {\"ping\":1,\"heartbeat\":1e300}\n\n", "data: a\xffb\n\n", "data: \u2028\u0085\v\f\n\n", "data: half", "data: half\n", "id: \u00e9\ndata: x\n\n", "id: a b\r\ndata: x\r\n\r\n",
	} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	f.Fuzz(func(t *testing.T, stream []byte, slow bool) {
		var got, want []ssetest.Event
		var cursor string // cursor of the last block, if it is certain
		base, _ := url.Parse("http://headcount.test")
		server := remote.New(base, "")
		s := newSubscription(Options{Server: server, Room: "lobby", Handle: func(e *sse.Event) error {
			got = append(got, ssetest.Event{Name: cmp.Or(text(string(e.Event)), "message"), Data: text(string(e.Data))})
			return nil
		}})
		server.HTTP.Transport = answerer(func(r *http.Request) *http.Response {
			if r.URL.Path != "/events" {
				return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}
			}
			var body io.Reader = bytes.NewReader(stream)
			if slow {
				body = iotest.OneByteReader(body)
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(body), Request: r}
		})
		if _, err := s.attempt(t.Context()); err != remote.ErrEnded {
			t.Fatalf("got error %v, want that the stream ended", err)
		}
		in := ssetest.NewReader(bytes.NewReader(stream))
		for {
			b, err := in.Block()
			if err != nil {
				break
			}
			cursor = ""
			if !b.Dispatched {
				continue
			}
			if !strings.ContainsFunc(b.ID, unicode.IsControl) {
				cursor = b.ID
			}
			if b.Data != "" && !strings.HasPrefix(b.Name, sse.SignalPrefix) {
				want = append(want, ssetest.Event{Name: b.Name, Data: b.Data})
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if cursor != "" && text(s.cursor) != cursor {
			t.Errorf("got cursor %q, want %q", s.cursor, cursor)
		}
		if strings.ContainsFunc(s.cursor, unicode.IsControl) {
			t.Errorf("got cursor %q, which cannot be sent", s.cursor)
		}
	})
}

// text decodes bytes as a browser does.
func text(s string) string { return string([]rune(s)) }

type answerer func(*http.Request) *http.Response

func (a answerer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r), nil }
