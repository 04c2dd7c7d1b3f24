package thirdparty

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	r3labs "github.com/r3labs/sse/v2"
	gosse "github.com/tmaxmax/go-sse"

	"headcount/test/rig"
)

// event is what a parser makes of one.
type event struct{ ID, Name, Data string }

// parsers pass on every event of a stream until ctx ends.
func parsers() map[string]func(ctx context.Context, t *testing.T, stream string, got func(event)) error {
	return map[string]func(context.Context, *testing.T, string, func(event)) error{
		"r3labs sse": func(ctx context.Context, _ *testing.T, stream string, got func(event)) error {
			c := r3labs.NewClient(stream, r3labs.ClientMaxBufferSize(1<<20))
			return c.SubscribeRawWithContext(ctx, func(e *r3labs.Event) {
				if len(e.Event) > 0 { // comments come as events without a name
					got(event{string(e.ID), string(e.Event), string(e.Data)})
				}
			})
		},
		"tmaxmax go-sse": func(ctx context.Context, _ *testing.T, stream string, got func(event)) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, stream, nil)
			if err != nil {
				return err
			}
			conn := gosse.NewConnection(req)
			conn.Buffer(nil, 1<<20)
			conn.SubscribeToAll(func(e gosse.Event) {
				if e.Type != "" { // a block with nothing but a retry time comes as an event, too
					got(event{e.LastEventID, e.Type, e.Data})
				}
			})
			return conn.Connect()
		},
		"npm eventsource": func(ctx context.Context, t *testing.T, stream string, got func(event)) error {
			cmd := exec.CommandContext(ctx, rig.Need(t, "node", "apt-get install nodejs npm"), "all-events.mjs", stream)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				return err
			}
			if err := cmd.Start(); err != nil {
				return err
			}
			for in := json.NewDecoder(out); ; {
				var e event
				if err := in.Decode(&e); err != nil {
					return cmd.Wait()
				}
				got(e)
			}
		},
	}
}

// Three parsers that share no code with the server get the same events that were emitted, whatever names and data
// these have. They get the accepted events, in order, with their names and the same JSON. HOSTILE_SEED=N repeats a
// run.
func TestHostileEvents(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("HOSTILE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HOSTILE_SEED: %v", err)
		}
	}
	t.Logf("HOSTILE_SEED=%d", seed)
	const events = 1000
	server := rig.Start(t, "-token", "secret", "-history", strconv.Itoa(2*events))
	readers := make(map[string]*log)
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	t.Cleanup(func() { cancel(); reading.Wait() })
	for name, read := range parsers() {
		l := &log{}
		readers[name] = l
		reading.Go(func() {
			if err := read(ctx, t, server.URL+"/events?room=hostile", l.add); ctx.Err() == nil {
				t.Errorf("%s ended: %v", name, err)
			}
		})
	}
	rig.Wait(t, 15*time.Second, "all readers", func() bool { return server.Count("hostile") == len(readers) })

	g := &generator{rand.New(rand.NewPCG(seed, 0))}
	var want []event
	refused := 0
	for n := range events {
		name, data := g.name(), g.data()
		if n == 0 { // the largest body that is taken
			name, data = "large", `"`+strings.Repeat("x", 64<<10-len(`{"event":"large","room":"hostile","data":""}`))+`"`
		}
		id, ok := emit(t, server.URL, name, data, n%2 == 1 && n > 0)
		if good := travels(name); ok != good {
			t.Fatalf("event %q was accepted: %v, want %v", name, ok, good)
		}
		if ok {
			want = append(want, event{id, name, data})
		} else {
			refused++
		}
	}
	end, _ := emit(t, server.URL, "the end", "1", false)
	want = append(want, event{end, "the end", "1"})
	t.Logf("%d events accepted, %d refused for their names", len(want), refused)

	for who, l := range readers {
		rig.Wait(t, 20*time.Second, who+" to have all events", func() bool { return l.has(end) })
		got := l.emitted()
		for i := range min(len(got), len(want)) {
			if got[i].ID != want[i].ID || got[i].Name != want[i].Name || !sameJSON(got[i].Data, want[i].Data) {
				t.Fatalf("%s: got event %d %.300q, want %.300q", who, i, got[i], want[i])
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %d events, want %d", who, len(got), len(want))
		}
	}
}

// log is the events that a parser has passed on.
type log struct {
	mu     sync.Mutex
	events []event
}

func (l *log) add(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *log) has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.events, func(e event) bool { return e.ID == id && e.Name == "the end" })
}

// emitted leaves out what is the server's own.
func (l *log) emitted() []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.events), func(e event) bool { return e.Name == "user count" })
}

// emit returns the id if the event was accepted; a name that is refused is a 400.
func emit(t *testing.T, server, name, data string, form bool) (id string, ok bool) {
	t.Helper()
	text, _ := json.Marshal(name)
	kind, body := "application/json", fmt.Sprintf(`{"event":%s,"room":"hostile","data":%s}`, text, data)
	if form {
		kind, body = "application/x-www-form-urlencoded", url.Values{"event": {name}, "room": {"hostile"}, "data": {data}}.Encode()
	}
	if !form && !utf8.ValidString(name) {
		body = `{"event":"` + name + `","room":"hostile"}`
	}
	req, err := http.NewRequest(http.MethodPost, server+"/emit", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer secret")
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ ID, Error string }
	all, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(all, &answer); err != nil {
		t.Fatalf("answer %q: %v", all, err)
	}
	if ok = resp.StatusCode == http.StatusOK; !ok && (resp.StatusCode != http.StatusBadRequest || answer.Error == "") {
		t.Fatalf("got %s %s for event %q with %.200q", resp.Status, all, name, data)
	}
	return answer.ID, ok
}

// travels reports whether an event of that name may be emitted.
func travels(name string) bool {
	switch name {
	case "user count", "open", "error", "message", "connect", "disconnect":
		return false
	}
	return name != "" && len(name) <= 128 && utf8.ValidString(name) && !strings.HasPrefix(name, "io:") && !strings.ContainsFunc(name, unicode.IsControl)
}

// sameJSON reports whether two texts are the same JSON to the last digit and space. Line ends, which can only be
// between two values, become LF.
func sameJSON(a, b string) bool {
	lines := strings.NewReplacer("\r\n", "\n", "\r", "\n")
	return json.Valid([]byte(a)) && lines.Replace(a) == lines.Replace(b)
}

// generator makes names and data that have broken encoders and parsers.
type generator struct{ *rand.Rand }

// pieces are what names and strings are made of.
func pieces() []string {
	return []string{
		"a", "news", " ", ":", "data: x", "event: forged", "id: 1", "retry: 1", "\r", "\n", "\r\n", "\n\n", "\x00", "\t", "\x7f", "\u0085", "\u00a0", "\u2028", "\u2029", "\ufeff", "ü", "你", "👋",
		"\ufffd", "\"", "\\", "<b>", "&", ";", "%00", "+", "=", "{", "]", "0", "\u202e", "constructor", "__proto__",
	}
}

func (g *generator) text(most int) string {
	all := pieces()
	var b strings.Builder
	for range g.IntN(most + 1) {
		b.WriteString(all[g.IntN(len(all))])
	}
	return b.String()
}

func (g *generator) name() string {
	switch g.IntN(20) {
	case 0:
		return g.text(60)
	case 1:
		return []string{"user count", "io:gap", "io:", "open", "message", "error", "connect", "disconnect", "", "a\xffb"}[g.IntN(10)]
	case 2:
		return strings.Repeat("n", 127+g.IntN(3))
	case 3, 4, 5, 6:
		return g.text(4)
	}
	// What no encoder has a reason to refuse.
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '.'
		}
		return r
	}, "n"+g.text(6))
}

// data is JSON, with all the space that JSON may have.
func (g *generator) data() string {
	space := func() string { return []string{"", "", " ", "\n", "\r", "\r\n", "\n\n", "\t"}[g.IntN(8)] }
	var value func(deep int) string
	value = func(deep int) string {
		switch n := g.IntN(10); {
		case n < 2 && deep > 0:
			return "[" + space() + value(deep-1) + space() + "," + space() + value(deep-1) + space() + "]"
		case n < 4 && deep > 0:
			return "{" + space() + g.quoted() + space() + ":" + space() + value(deep-1) + space() + "}"
		case n < 7:
			return g.quoted()
		}
		return []string{"null", "true", "1e400", "-0", "12345678901234567890", "0.1e-999", "1.0000000000000000000001", `"\ud800"`, `"\u0000"`, `"\r\n\u2028"`}[g.IntN(10)]
	}
	if g.IntN(50) == 0 {
		n := g.IntN(5000)
		return strings.Repeat("[", n) + value(1) + strings.Repeat("]", n)
	}
	return value(6)
}

// quoted is a JSON string; what may stand in it as it is does.
func (g *generator) quoted() string {
	var b strings.Builder
	for _, r := range g.text(12) {
		switch {
		case r < ' ':
			fmt.Fprintf(&b, `\u%04x`, r)
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		default:
			b.WriteRune(r)
		}
	}
	return `"` + b.String() + `"`
}
