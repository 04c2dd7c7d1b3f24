package sse_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	r3labs "github.com/r3labs/sse/v2"
	"gopkg.in/cenkalti/backoff.v1"

	"headcount/internal/sse"
	"headcount/internal/sse/ssetest"
)

// golden is one event and its form on the wire, in testdata/golden/NAME.json and NAME.sse.
type golden struct {
	name    string
	wire    []byte
	ID      string
	Event   string
	Data    string
	Decoded *string // what Data is after decoding, if line ends changed it
}

func (g *golden) event() *sse.Event {
	e := &sse.Event{Event: []byte(g.Event), Data: []byte(g.Data)}
	if g.ID != "" {
		e.ID = []byte(g.ID)
	}
	return e
}

func goldens(t testing.TB) []*golden {
	t.Helper()
	files, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	var all []*golden
	for _, file := range files {
		g := &golden{name: strings.TrimSuffix(filepath.Base(file), ".json")}
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, g)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if g.wire, err = os.ReadFile(strings.TrimSuffix(file, "json") + "sse"); err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

// The encoder writes the golden files, and two decoders that are not ours read them.
func TestGolden(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			if got := sse.Append(nil, g.event()); !bytes.Equal(got, g.wire) {
				t.Errorf("got %q, want %q", got, g.wire)
			}
			want := ssetest.Event{ID: g.ID, Name: g.Event, Data: g.Data}
			if g.Decoded != nil {
				want.Data = *g.Decoded
			}
			for who, got := range decoders(t, g.wire) {
				if len(got) != 1 || got[0] != want {
					t.Errorf("%s reads %q, want %q", who, got, want)
				}
			}
		})
	}
}

// decoders returns the events that each of them reads from a stream.
func decoders(t testing.TB, stream []byte) map[string][]ssetest.Event {
	t.Helper()
	return map[string][]ssetest.Event{"WHATWG": ssetest.Parse(stream), "r3labs": r3labsParse(t, stream)}
}

// r3labsParse parses the stream with the client of github.com/r3labs/sse/v2.
func r3labsParse(t testing.TB, stream []byte) []ssetest.Event {
	t.Helper()
	c := r3labs.NewClient("http://headcount.test/events", r3labs.ClientMaxBufferSize(1<<24))
	c.ReconnectStrategy = &backoff.StopBackOff{}
	c.Connection = &http.Client{Transport: roundTrip(func(r *http.Request) *http.Response {
		return &http.Response{
			StatusCode: http.StatusOK, Request: r, Header: http.Header{"Content-Type": {"text/event-stream"}},
			Body: io.NopCloser(bytes.NewReader(stream)),
		}
	})}
	var all []ssetest.Event
	if err := c.SubscribeRaw(func(e *r3labs.Event) {
		all = append(all, ssetest.Event{ID: string(e.ID), Name: string(e.Event), Data: string(e.Data)})
	}); err != nil {
		t.Fatalf("r3labs's client: %v", err)
	}
	return all
}

type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

func TestFields(t *testing.T) {
	for _, tt := range []struct {
		name  string
		event sse.Event
		want  string
	}{
		{"nothing", sse.Event{}, "\n"},
		{"comment", sse.Event{Comment: []byte("hello")}, ": hello\n\n"},
		{"retry", sse.Event{Retry: []byte("100")}, "retry: 100\n\n"},
		{"id alone", sse.Event{ID: []byte("1")}, "id: 1\n\n"},
		{"id that is taken back", sse.Event{ID: []byte{}}, "id: \n\n"},
		{"all", sse.Event{Comment: []byte("c"), Retry: []byte("1"), ID: []byte("2"), Event: []byte("e"), Data: []byte("d")},
			": c\nretry: 1\nid: 2\nevent: e\ndata: d\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(sse.Append([]byte("before "), &tt.event)); got != "before "+tt.want {
				t.Errorf("got %q, want %q behind what was there", got, tt.want)
			}
		})
	}
}

func TestAppendRetry(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1500 * time.Millisecond: "retry: 1500\n",
		0:                       "retry: 0\n",
		time.Hour:               "retry: 3600000\n",
	} {
		got := string(sse.AppendRetry(nil, d))
		if got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
		if b, err := ssetest.NewReader(strings.NewReader(got)).Block(); !errors.Is(err, io.EOF) || b.Retry == "" {
			t.Errorf("%v is read as %+v, %v, want a field of no block", d, b, err)
		}
	}
}

// No decoder reports a comment, or takes it for an event.
func TestComment(t *testing.T) {
	event := sse.Append(nil, &sse.Event{Event: []byte("a"), Data: []byte("b")})
	stream := slices.Concat([]byte(sse.Comment), event, []byte(sse.Comment), []byte(sse.Comment), event, []byte(sse.Comment))
	for who, got := range decoders(t, stream) {
		if len(got) != 2 || got[0] != got[1] || got[0].Name != "a" || got[0].Data != "b" {
			t.Errorf("%s reads %q, want the two events", who, got)
		}
	}
	if b, err := ssetest.NewReader(strings.NewReader(sse.Comment)).Block(); !errors.Is(err, io.EOF) || b.Comments != 1 {
		t.Errorf("the comment is read as %+v, %v, want a line of no block", b, err)
	}
}

// The last event gets another id, no matter what is before it and in it.
func TestSetLastID(t *testing.T) {
	event := func(id, data string) string {
		return string(sse.Append(nil, &sse.Event{ID: []byte(id), Event: []byte("a"), Data: []byte(data)}))
	}
	retry := string(sse.AppendRetry(nil, time.Second))
	tricky := "id: 1\n\nid: 2\nx"
	for _, tt := range []struct {
		name, text, want string
		found            bool
	}{
		{"nothing", "", "", false},
		{"no event", retry, retry, false},
		{"one", event("1", "x"), event("new", "x"), true},
		{"one behind a retry time", retry + event("1", "x"), retry + event("new", "x"), true},
		{"two", event("1", "x") + event("2", "y"), event("1", "x") + event("new", "y"), true},
		{"data like an id", event("1", tricky) + event("longer than new", tricky), event("1", tricky) + event("new", tricky), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, found := sse.SetLastID([]byte(tt.text), "new")
			if string(got) != tt.want || found != tt.found {
				t.Errorf("got %q, %v, want %q, %v", got, found, tt.want, tt.found)
			}
		})
	}
}

// FuzzAppend checks that any data under any valid name comes out as it went in, in one event, with nothing forged
// before, in or after it.
func FuzzAppend(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.Event, []byte(g.Data))
	}
	for _, data := range []string{
		"\r", "\n", "\r\n", "\n\r", "x\r\n\r\nevent: forged\r\ndata: 1\r\n\r\n", "\x00", "\ufeff", "\u2028data: x", "a\xffb", "data: \n:",
	} {
		f.Add("news", []byte(data))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if sse.CheckRoom(name) != nil { // the form of a name, reserved or not
			t.Skip("not a name")
		}
		if data == nil {
			data = []byte{}
		}
		before := bytes.Clone(data)
		stream := sse.AppendRetry(nil, time.Second)
		stream = sse.Append(stream, &sse.Event{ID: []byte("1"), Event: []byte(name), Data: data})
		stream = sse.Append(stream, &sse.Event{ID: []byte("2"), Event: []byte("last"), Data: []byte("end")})
		if !bytes.Equal(before, data) {
			t.Fatalf("the encoder changed the data from %q to %q", before, data)
		}
		lines := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
		want := []ssetest.Event{{ID: "1", Name: name, Data: lines}, {ID: "2", Name: "last", Data: "end"}}
		for who, got := range decoders(t, stream) {
			if len(got) != 2 || got[1] != want[1] || got[0].Name != name || got[0].ID != "1" {
				t.Fatalf("%s reads %q, want %q", who, got, want)
			}
			if got[0].Data != lines && (utf8.Valid(data) || who == "r3labs") {
				t.Fatalf("%s reads %q, want %q", who, got[0].Data, lines)
			}
		}
	})
}

// FuzzChunk checks that pieces in chunks equal the pieces in one, and end where they end.
func FuzzChunk(f *testing.F) {
	f.Add([]byte("a"), []byte("b"))
	f.Add([]byte{}, []byte("\r\n0\r\n\r\n"))
	f.Add(bytes.Repeat([]byte("x"), 300), []byte{})
	f.Fuzz(func(t *testing.T, one, two []byte) {
		body := append(sse.AppendChunk(sse.AppendChunk(nil, one), two), sse.LastChunk...)
		in := bytes.NewReader(append(body, "behind"...))
		got, err := io.ReadAll(httputil.NewChunkedReader(in))
		if err != nil || !bytes.Equal(got, append(bytes.Clone(one), two...)) {
			t.Fatalf("got %q, %v, want %q and %q", got, err, one, two)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{10, 200, 64 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			e := &sse.Event{ID: []byte("abcdefgh.1.abcd.2"), Event: []byte("news"), Data: bytes.Repeat([]byte("x"), size)}
			buffer := make([]byte, 0, 2*size+200)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				buffer = sse.Append(buffer[:0], e)
			}
		})
	}
}

func BenchmarkAppendChunk(b *testing.B) {
	p := bytes.Repeat([]byte("x"), 300)
	buffer := make([]byte, 0, 400)
	b.ReportAllocs()
	for b.Loop() {
		buffer = sse.AppendChunk(buffer[:0], p)
	}
}
