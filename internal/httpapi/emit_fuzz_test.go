package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"headcount/internal/engine"
	"headcount/internal/sse"
	"headcount/internal/sse/ssetest"
)

// fuzzed is a server that is called without a network.
type fuzzed struct {
	engine  *engine.Engine
	handler http.Handler
}

func newFuzzed(f *testing.F, opt options) fuzzed {
	f.Helper()
	e, h, _, stop := start(f, opt)
	f.Cleanup(stop)
	return fuzzed{e, h}
}

func (s fuzzed) users(room string) int { return s.engine.Users().Count(room) }

// do sends one request; header is pairs of names and values.
func (s fuzzed) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// wantRefusal expects a 4xx with one sentence.
func wantRefusal(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	var body map[string]string
	err := json.Unmarshal(w.Body.Bytes(), &body)
	if w.Code < 400 || w.Code > 499 || err != nil || len(body) != 1 || body["error"] == "" || strings.ContainsAny(body["error"], "\r\n") {
		t.Fatalf(`got %d %q, want 4xx {"error":"…"}`, w.Code, w.Body)
	}
}

// after returns the single event of the room that follows the one before the response's id, as a subscriber gets it.
func (s fuzzed) after(t *testing.T, answer []byte) (room string, event ssetest.Event) {
	t.Helper()
	var done struct{ ID, Room string }
	if err := json.Unmarshal(answer, &done); err != nil {
		t.Fatalf("answer %q: %v", answer, err)
	}
	part := strings.Split(done.ID, ".")
	if len(part) != 4 {
		t.Fatalf("got id %q, want a cursor of four parts", done.ID)
	}
	seq, err := strconv.ParseUint(part[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	place := strings.Join(part[:2], ".") + "." // the rest is the version of the states
	part[1] = strconv.FormatUint(seq-1, 10)
	w := s.do("GET", "/events?poll=1&"+url.Values{"room": {done.Room}}.Encode(), "", "Last-Event-ID", strings.Join(part, "."))
	var events []ssetest.Event
	for _, e := range ssetest.Parse(w.Body.Bytes()) {
		if e.Name != sse.UserCount {
			events = append(events, e)
		}
	}
	if len(events) != 1 || !strings.HasPrefix(events[0].ID, place) {
		t.Fatalf("a reader got %q, want one event with the id %s", events, done.ID)
	}
	return done.Room, events[0]
}

// value decodes JSON without a loss of digits.
func value(t *testing.T, text string) any {
	t.Helper()
	in := json.NewDecoder(strings.NewReader(text))
	in.UseNumber()
	var v any
	if err := in.Decode(&v); err != nil {
		t.Fatalf("%q is no JSON: %v", text, err)
	}
	if in.More() {
		t.Fatalf("%q is more than one JSON value", text)
	}
	return v
}

// hostile returns data that has broken encoders.
func hostile() []string {
	return []string{
		"null", `""`, `"a\nb"`, `"\u0000\u2028\ufeff"`, "\"\u2028\ufeff\u0085\"", "{\n\"a\":\r\n[\r1,\n\n2]\n}", "1e400", "-0", "12345678901234567890",
		`"\n\ndata: 1\n\nevent: user count\nid: x"`, `{"a":1,"a":2}`, `"\ud800"`, "[[[[[]]]]]", "data: x\n\nevent: forged", "\ufeff1", "a;b&c=d%zz", "{", "",
		strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), " 1 ", "\x00", "\xff", `{"event":"a"}`,
	}
}

// FuzzEmitBody checks that a body of any kind gives one event with a valid name and JSON data, or one sentence.
func FuzzEmitBody(f *testing.F) {
	for _, data := range hostile() {
		f.Add(`{"event":"news","room":"a","data":`+data+`}`, false)
		f.Add("event=news&data="+data, true)
	}
	for _, body := range []string{"", "null", "[]", "{}", `{"event":"a"} 1`, `{"event":"a","event":null}`, `{"EVENT":"a"}`, "event=a&event=b", "event=%zz", "event=open"} {
		f.Add(body, false)
		f.Add(body, true)
	}
	s := newFuzzed(f, options{Token: "secret", History: 4})
	f.Fuzz(func(t *testing.T, body string, form bool) {
		kind := "application/json"
		if form {
			kind = "application/x-www-form-urlencoded"
		}
		w := s.do("POST", "/emit", body, append(bearer, "Content-Type", kind)...)
		if w.Code != http.StatusOK {
			wantRefusal(t, w)
			return
		}
		room, got := s.after(t, w.Body.Bytes())
		if err := sse.CheckName(got.Name); err != nil {
			t.Errorf("got an event called %q: %v", got.Name, err)
		}
		if err := sse.CheckRoom(room); err != nil {
			t.Errorf("got room %q: %v", room, err)
		}
		value(t, got.Data)
	})
}

// FuzzEmit checks that a valid name, room and JSON value arrive unchanged, as JSON and as a form. Anything else is
// refused.
func FuzzEmit(f *testing.F) {
	for _, data := range hostile() {
		f.Add("news", "lobby", data)
	}
	for _, name := range []string{"", "user count", "io:x", "a\nb", "a\u2028b", "\ufeffa", " a ", ":a", "data: x", "\u0085", strings.Repeat("ü", 64), strings.Repeat("ü", 65)} {
		f.Add(name, "lobby", "1")
		f.Add("news", name, "1")
	}
	s := newFuzzed(f, options{Token: "secret", History: 4})
	f.Fuzz(func(t *testing.T, name, room, data string) {
		quotedName, quotedRoom := quoted(name), quoted(room)
		good := sse.CheckName(name) == nil && sse.CheckRoom(room) == nil
		for kind, body := range map[string]string{
			"application/json":                  fmt.Sprintf(`{"event":%s,"room":%s,"data":%s}`, quotedName, quotedRoom, data),
			"application/x-www-form-urlencoded": url.Values{"event": {name}, "room": {room}, "data": {data}}.Encode(),
		} {
			form := kind != "application/json"
			isJSON := json.Valid([]byte(data))
			// Invalid JSON may close the object and begin another field.
			if !form && !isJSON {
				continue
			}
			w := s.do("POST", "/emit", body, append(bearer, "Content-Type", kind)...)
			if w.Code == http.StatusRequestEntityTooLarge && len(body) > 64<<10 {
				continue
			}
			if w.Code != http.StatusOK && strings.Contains(w.Body.String(), "10,000 levels deep") {
				if strings.Count(data, "[")+strings.Count(data, "{") < 10_000 {
					t.Fatalf("%s: got %s for data %q", kind, w.Body, data)
				}
				continue
			}
			if want := good && strings.ToValidUTF8(data, "") == data; want != (w.Code == http.StatusOK) {
				t.Fatalf("%s: got %d %s for event %q, room %q, data %q", kind, w.Code, w.Body, name, room, data)
			}
			if w.Code != http.StatusOK {
				wantRefusal(t, w)
				continue
			}
			gotRoom, got := s.after(t, w.Body.Bytes())
			if got.Name != name || gotRoom != room {
				t.Errorf("%s: got event %q in room %q, want %q in %q", kind, got.Name, gotRoom, name, room)
			}
			want := any(data)
			switch {
			case isJSON:
				want = value(t, data)
			case data == "":
				want = ""
			}
			if v := value(t, got.Data); !reflect.DeepEqual(v, want) {
				t.Errorf("%s: got %q, want %q", kind, v, want)
			}
		}
	})
}

// quoted returns text as JSON, or invalid JSON if text is not UTF-8.
func quoted(text string) string {
	if strings.ToValidUTF8(text, "") != text {
		return `"` + text + `"`
	}
	b, _ := json.Marshal(text) // a string
	return string(b)
}
