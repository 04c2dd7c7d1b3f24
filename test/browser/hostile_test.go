package browser

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"headcount/test/rig"
)

// No name and no data can forge or change an event on its way to a handler in a page, by a stream or by polls.
func TestHostileEvents(t *testing.T) {
	names := []string{
		"news", "data: x", "id: 1", "event: user count", "retry: 1", ":", "a:b", " a ", "a\u2028b", "\u2029", "\ufeffa", "a\u00a0b", "__proto__", "constructor", "\\r\\n", "<b>", "👋", "'\"`",
	}
	texts := []string{
		`"\r\nevent: user count\r\ndata: 99\r\n\r\n"`, `"\n\ndata: 1\n\n"`, `"\r\rid: x\r"`, `"\u0000"`, "\"\u2028\u2029\ufeff\u0085\"", "\"\ufeff\"", `"\ufeffdata: 1"`,
		"{\r\"a\"\r\n:\n[1,\n\n\r2]}", "\n1", "[\n\n\ndata\n", "\ufeff1", "event: user count\ndata: 99\n\n", "\x00", `"\ud800"`, "1e400", `{"__proto__":1}`,
	}
	for name, open := range map[string]func(*testing.T, *rig.Server) string{
		"stream": func(_ *testing.T, server *rig.Server) string { return server.URL },
		"poll":   func(t *testing.T, server *rig.Server) string { return newBox(t, server, holds).URL },
	} {
		t.Run(name, func(t *testing.T) {
			server := rig.Start(t, "-token", token)
			tb := newChrome(t).open(open(t, server) + "/test/client.html")
			eval[bool](tb, `window.got = []; window.socket = io(); socket.onAny((name, data) => {
				got.push(JSON.stringify([name, data]))
				if (name == 'user count') console.log('user count ' + data)
			}); true`)
			tb.expect(slow, "user count 1")
			if way := eval[string](tb, `socket.transport`); way != name {
				t.Errorf("the transport is %s, want %s", way, name)
			}
			want := []string{`["user count",1]`}
			for n := range max(len(names), len(texts)) {
				event, text := names[n%len(names)], texts[n%len(texts)]
				emit(t, server, "lobby", event, text)
				if !json.Valid([]byte(text)) { // then a form field is a string
					quoted, _ := json.Marshal(text)
					text = string(quoted)
				}
				// What JSON.parse makes of the text itself.
				want = append(want, eval[string](tb, fmt.Sprintf(`JSON.stringify([%s, JSON.parse(%s)])`, literal(event), literal(text))))
			}
			emit(t, server, "lobby", "end", "1")
			want = append(want, `["end",1]`)
			rig.Wait(t, slow, "the last event", func() bool { return eval[bool](tb, `got.at(-1) == '["end",1]'`) })
			if got := eval[[]string](tb, `got`); !slices.Equal(got, want) {
				for i := range max(len(got), len(want)) {
					t.Errorf("event %d: got %q, want %q", i, slices.Concat(got[min(i, len(got)):], []string{""})[0], slices.Concat(want[min(i, len(want)):], []string{""})[0])
				}
			}
			tb.faultless()
		})
	}
}

// literal is text as a string of JavaScript.
func literal(text string) string {
	b, _ := json.Marshal(text) // a string
	return string(b)
}
