package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/internal/bubble"
)

var bearer = []string{"Authorization", "Bearer secret"}

// emit posts a body and returns the response. form sends it as a form.
func (b *rig) emit(body string, form bool, header ...string) bubble.Answer {
	b.T.Helper()
	kind := "application/json"
	if form {
		kind = "application/x-www-form-urlencoded"
	}
	return b.Do("POST", "/emit", body, append([]string{"Content-Type", kind}, header...)...)
}

// A request without a valid token emits nothing. If emit is off, every request is refused.
func TestEmitToken(t *testing.T) {
	inBubble(t, options{Token: "secret"}, func(t *testing.T, b *rig) {
		reader := b.Open("")
		for _, tt := range []struct{ name, header string }{
			{"none", ""},
			{"wrong", "Bearer wrong"},
			{"beginning of the right one", "Bearer secre"},
			{"right one and more", "Bearer secrets"},
			{"no scheme", "secret"},
			{"other scheme", "Basic secret"},
			{"empty", "Bearer "},
		} {
			a := b.emit(`{"event":"news"}`, false, "Authorization", tt.header)
			a.WantError(t, 401)
			if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
				t.Errorf("%s: got WWW-Authenticate %q, want Bearer", tt.name, got)
			}
		}
		if a := b.emit(`{"event":"news"}`, false, "Authorization", "bearer secret"); a.StatusCode != 200 {
			t.Errorf("scheme in lower case: got %s, want 200", a.Status)
		}
		if got := reader.Values("news"); len(got) != 1 {
			t.Errorf("got %d events, want the one with the right token", len(got))
		}
	})
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		for _, header := range [][]string{nil, {"Authorization", "Bearer "}, bearer} {
			if words := b.emit(`{"event":"news"}`, false, header...).WantError(t, 403); !strings.Contains(words, "-token") {
				t.Errorf("got %q, want how to switch it on", words)
			}
		}
	})
}

// Emitted data arrives as the same JSON value, once, only in its room, and under the id of the response.
func TestEmitData(t *testing.T) {
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	long, _ := json.Marshal(strings.Repeat("ü", 30_000))
	for _, tt := range []struct{ name, data string }{
		{"null", "null"},
		{"string", `"hello"`},
		{"empty string", `""`},
		{"number to the last digit", "123456789012345678901234567890.000000000000000001"},
		{"object", `{"b":1,"a":[true,false,null,{"c":"d"}]}`},
		{"nested arrays", deep},
		{"unicode", `"grüße 你好 👋 \ud83d\udc4b"`},
		{"escapes", `"a\r\nb\u2028\u2029\u0000\u0085\ufeff\\"`},
		{"raw U+2028 and BOM", "\"\u2028\u2029\ufeff\u0085\""},
		{"over lines", "{\n\"a\":\r\n[\r1,\n\n2]\n}"},
		{"what looks like the wire", `"\n\ndata: 1\n\nevent: user count\nid: x"`},
		{"nearly 64 KiB", string(long)},
		{"64 KiB to the byte", `"` + strings.Repeat("x", 64<<10-2) + `"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The default limit applies to the whole body, so data of 64 KiB needs a little more.
			inBubble(t, options{Token: "secret", MaxEvent: 64<<10 + 100}, func(t *testing.T, b *rig) {
				reader, other := b.Open("room=a"), b.Open("room=b")
				bodies := []struct {
					text string
					form bool
				}{
					{`{"event":"news","data":` + tt.data + `,"room":"a"}`, false},
					{url.Values{"event": {"news"}, "data": {tt.data}, "room": {"a"}}.Encode(), true},
				}
				for n, body := range bodies {
					if len(body.text) > 64<<10+100 {
						continue // each ü is six bytes in a form
					}
					a := b.emit(body.text, body.form, bearer...)
					var done map[string]string
					if err := json.Unmarshal([]byte(a.Body), &done); err != nil || a.StatusCode != 200 || done["room"] != "a" || len(done) != 2 {
						t.Fatalf("got %s %s, want 200 with id and room", a.Status, a.Body)
					}
					got := reader.Got()
					last := got[len(got)-1]
					if last.Name != "news" || last.ID != done["id"] || len(reader.Values("news")) != n+1 {
						t.Fatalf("got %q with the id %s, want one more news with the id %s", last.Name, last.ID, done["id"])
					}
					var in, out any
					if err := json.Unmarshal([]byte(last.Data), &out); err != nil {
						t.Fatalf("data is no JSON: %v", err)
					}
					if err := json.Unmarshal([]byte(tt.data), &in); err != nil {
						t.Fatal(err)
					}
					if !reflect.DeepEqual(in, out) {
						t.Errorf("got %.100s, want %.100s", last.Data, tt.data)
					}
					if !strings.Contains(tt.data, "\r") && last.Data != tt.data {
						t.Errorf("got %.100s, want byte for byte %.100s", last.Data, tt.data)
					}
				}
				if n := len(other.Values("news")); n != 0 {
					t.Errorf("another room got %d events", n)
				}
			})
		})
	}
}

// Bodies that users type.
func TestEmitBodies(t *testing.T) {
	inBubble(t, options{Token: "secret"}, func(t *testing.T, b *rig) {
		reader := b.Open("")
		for n, tt := range []struct {
			name, body string
			form       bool
			want       string
		}{
			{"no data", `{"event":"news"}`, false, "null"},
			{"form without data", "event=news", true, "null"},
			{"form with words", "event=news&data=two+words", true, `"two words"`},
			{"form with an empty string", "event=news&data=", true, `""`},
			{"form with JSON", "event=news&data=%5B1%5D", true, "[1]"},
			{"form with what a form may hold", "event=news&data=<b>;%26;</b>", true, `"<b>;&;</b>"`},
			{"form with half a JSON", "event=news&data=%7B%22a%22", true, `"{\"a\""`},
			{"space around", " {\"event\":\"news\",\"data\":1}\n", false, "1"},
			{"byte order mark in front", "\ufeff{\"event\":\"news\",\"data\":\"\ufeff\"}", false, "\"\ufeff\""},
			{"byte order mark in front of a form", "\ufeffevent=news&data=1", true, "1"},
			{"half a surrogate pair in data", `{"event":"news","data":"\ud800"}`, false, `"\ud800"`},
			{"as deep as may be", `{"event":"news","data":` + nested(9_999) + `}`, false, nested(9_999)},
			{"as deep as may be in a form", "event=news&data=" + nested(10_000), true, nested(10_000)},
			{"what curl -d sends of JSON", `{"event":"news","data":{"a":"b&c=d"}}`, true, `{"a":"b&c=d"}`},
		} {
			if a := b.emit(tt.body, tt.form, bearer...); a.StatusCode != 200 {
				t.Errorf("%s: got %s %s, want 200", tt.name, a.Status, a.Body)
			}
			if got := reader.Values("news"); len(got) != n+1 || got[n] != tt.want {
				t.Errorf("%s: got %q, want %s at the end", tt.name, got, tt.want)
			}
		}
	})
}

func nested(deep int) string { return strings.Repeat("[", deep) + strings.Repeat("]", deep) }

func TestEmitRefuses(t *testing.T) {
	inBubble(t, options{Token: "secret"}, func(t *testing.T, b *rig) {
		for _, body := range []string{`{"event":"news","data":` + nested(10_000) + `}`, "event=news&data=" + nested(10_001)} {
			words := b.emit(body, strings.HasPrefix(body, "event"), bearer...).WantError(t, 400)
			if !strings.Contains(words, "10,000 levels deep") {
				t.Errorf("nested too deep: got %q", words)
			}
		}
	})
	inBubble(t, options{Token: "secret", MaxEvent: 200}, func(t *testing.T, b *rig) {
		reader := b.Open("")
		for _, tt := range []struct {
			name, body string
			form       bool
			status     int
			want       string // in the sentence
		}{
			{"nothing", "", false, 400, "empty"},
			{"half", `{"event":"ne`, false, 400, "ends too early"},
			{"array", `["news"]`, false, 400, "array"},
			{"bad JSON", `{"event":"news","data":}`, false, 400, "byte 24"},
			{"more behind", `{"event":"news"} {}`, false, 400, "continues"},
			{"misspelt", `{"event":"news","dat":1}`, false, 400, "dat"},
			{"field twice", `{"event":"news","data":1,"data":2}`, false, 400, "data appears a second time"},
			{"field twice in another case", `{"event":"news","Event":"other"}`, false, 400, "event appears a second time"},
			{"half a surrogate pair in the name", `{"event":"a\ud800"}`, false, 400, "half a surrogate pair"},
			{"half a surrogate pair in the room", `{"event":"\ufffd","room":"\uFFFD\udc00"}`, false, 400, "room contains half"},
			{"name of a wrong kind", `{"event":1}`, false, 400, "must be a string"},
			{"not UTF-8", "{\"event\":\"news\",\"data\":\"\xff\"}", false, 400, "UTF-8"},
			{"no name", `{"data":1}`, false, 400, "event is empty"},
			{"long name", `{"event":"` + strings.Repeat("n", 129) + `"}`, false, 400, "129 bytes"},
			{"newline in name", `{"event":"a\nb"}`, false, 400, "control character"},
			{"NUL in name", `{"event":"a\u0000"}`, false, 400, "control character"},
			{"empty room", `{"event":"news","room":""}`, false, 400, "room is empty"},
			{"newline in room", `{"event":"news","room":"a\rb"}`, false, 400, "control character"},
			{"form without a name", "data=1", true, 400, "event is empty"},
			{"form with a field twice", "event=news&data=1&data=2", true, 400, "2 times"},
			{"form with another field", "event=news&dta=1", true, 400, "dta"},
			{"form that is not UTF-8", "event=news&data=%ff", true, 400, "UTF-8"},
			{"form that is none", "event=%zz", true, 400, "form"},
			{"too large", `{"event":"news","data":"` + strings.Repeat("x", 176) + `"}`, false, 413, "200"},
		} {
			if words := b.emit(tt.body, tt.form, bearer...).WantError(t, tt.status); !strings.Contains(words, tt.want) {
				t.Errorf("%s: got %q, want something with %q", tt.name, words, tt.want)
			}
		}
		for _, name := range []string{
			"user count", "io:hello", "io:", "io:x", "open", "error", "message",
			"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener",
		} {
			b.emit(fmt.Sprintf(`{"event":%q}`, name), false, bearer...).WantError(t, 400)
			b.emit(url.Values{"event": {name}}.Encode(), true, bearer...).WantError(t, 400)
		}
		for _, tt := range []struct {
			name, query, header, value string
			status                     int
			want                       string
		}{
			{"room in the query", "?room=a", "Accept", "*/*", 400, "into the body"},
			{"event in the query", "?event=a", "Accept", "*/*", 400, "into the body"},
			{"compressed", "", "Content-Encoding", "gzip", 415, `"gzip"; send it without one`},
			{"form of curl -F", "", "Content-Type", "multipart/form-data; boundary=x", 415, "curl -d"},
		} {
			a := b.Do("POST", "/emit"+tt.query, `{"event":"news"}`, append(bearer, tt.header, tt.value)...)
			if words := a.WantError(t, tt.status); !strings.Contains(words, tt.want) {
				t.Errorf("%s: got %q, want something with %q", tt.name, words, tt.want)
			}
		}
		if a := b.emit("<a>", false, bearer...); !strings.Contains(a.Body, "'<'") {
			t.Errorf("got %s, want the < as a person reads it", a.Body)
		}
		if a := b.emit(`{"event":"news"}`, false, append(bearer, "Idempotency-Key", strings.Repeat("k", 257))...); a.StatusCode != 400 {
			t.Errorf("long key: got %s, want 400", a.Status)
		}
		if got := reader.Got(); len(got) != 1 { // the count
			t.Errorf("the reader got %v, want nothing of all that", got)
		}
		// A body of exactly the limit is accepted.
		if a := b.emit(`{"event":"news","data":"`+strings.Repeat("x", 174)+`"}`, false, bearer...); a.StatusCode != 200 {
			t.Errorf("200 bytes: got %s, want 200", a.Status)
		}
	})
}

// The same key is one event for two minutes, whatever the rest of the request is.
func TestIdempotencyKey(t *testing.T) {
	inBubble(t, options{Token: "secret"}, func(t *testing.T, b *rig) {
		reader := b.Open("")
		send := func(key, body string) string {
			t.Helper()
			a := b.emit(body, false, append(bearer, "Idempotency-Key", key)...)
			if a.StatusCode != 200 {
				t.Fatalf("got %s %s, want 200", a.Status, a.Body)
			}
			return a.Body
		}
		first := send("k", `{"event":"news","data":1}`)
		time.Sleep(2*time.Minute - time.Second)
		if again := send("k", `{"event":"other","data":2,"room":"a"}`); again != first {
			t.Errorf("got %s, want %s again", again, first)
		}
		if other := send("l", `{"event":"news","data":3}`); other == first {
			t.Error("another key got the same id")
		}
		time.Sleep(time.Second)
		if late := send("k", `{"event":"news","data":4}`); late == first {
			t.Error("after two minutes the key is still known")
		}
		send("", `{"event":"news","data":5}`)
		send("", `{"event":"news","data":6}`)
		if got := strings.Join(reader.Values("news"), " "); got != "1 3 4 5 6" {
			t.Errorf("got events %s, want 1 3 4 5 6", got)
		}
	})
}

// Many concurrent requests with the same key get one event's id, and there is one event.
func TestKeyAtOnce(t *testing.T) {
	inBubble(t, options{Token: "secret"}, func(t *testing.T, b *rig) {
		reader := b.Open("")
		for round := range 20 {
			ids := make([]string, 10)
			var sending sync.WaitGroup
			for i := range ids {
				sending.Go(func() {
					a := b.emit(`{"event":"news","data":`+fmt.Sprint(i)+`}`, false, append(bearer[:2:2], "Idempotency-Key", fmt.Sprint(round))...)
					var done struct{ ID string }
					if err := json.Unmarshal([]byte(a.Body), &done); err != nil || a.StatusCode != 200 {
						t.Errorf("got %s %s, want 200", a.Status, a.Body)
					}
					ids[i] = done.ID
				})
			}
			sending.Wait()
			for i, id := range ids {
				if id != ids[0] || id == "" {
					t.Errorf("round %d: request %d got id %q, want %q", round, i, id, ids[0])
				}
			}
			if got := len(reader.Values("news")); got != round+1 {
				t.Fatalf("round %d: got %d events, want %d", round, got, round+1)
			}
		}
	})
}
