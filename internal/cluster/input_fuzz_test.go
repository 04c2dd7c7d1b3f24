package cluster

import (
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/cluster/union"
	"headcount/internal/hub"
	"headcount/internal/presence"
)

// FuzzServers checks that any value of Options.Servers gives addresses or an error of one sentence without a password.
func FuzzServers(f *testing.F) {
	for _, list := range []string{
		"", "localhost", "nats://a:1,tls://b", "nats://me:PASS@a", "me:PASS@a", "nats://a?password=PASS", "ws://PASS@[::1]:80/x", "http://x:PASS@a", ",", "nats://",
		"nats://a?cert=x", "nats://me:PASS@a:b", "nats://me:PASS@%zz", "nats://PASS", "tls://a?ca=PASS", "nats:a:PASS@b", "nats://a b:PASS@c", "PASS://a", "nats://me:%50ASS@a", "0?:PASS@", "nats://me:PASS%2CWORD@a", "nats://me:PASSWORD@a:",
	} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		if strings.Contains(list, "nkey") || strings.Contains(list, "%") && strings.Contains(list, "key") {
			t.Skip("may name a file that is read")
		}
		opts, err := (&Options{Servers: list}).connection()
		if err != nil {
			if strings.ContainsFunc(err.Error(), unicode.IsControl) || strings.Contains(err.Error(), ":PASS@") {
				t.Errorf("%q: the error is more than a line, or tells the password: %q", list, err)
			}
			return
		}
		var connection nats.Options
		for _, opt := range opts {
			_ = opt(&connection) // a file may be missing
		}
		_, err = nats.Connect("", append(opts, nats.SkipHostLookup(), nats.SetCustomDialer(nowhere{}))...)
		if got := connection.Servers; len(got) != strings.Count(list, ",")+1 {
			t.Errorf("%q: got %q", list, got)
		}
		for _, text := range connection.Servers {
			u, parse := url.Parse(text)
			if parse != nil {
				t.Fatalf("%q: nats.go gets %q", list, text)
			}
			password, ok := u.User.Password()
			if !ok {
				password = u.User.Username() // a token
			}
			if len(password) > 5 && strings.Contains(err.Error(), password) {
				t.Errorf("%q: the password is in %q", list, err)
			}
		}
	})
}

// nowhere is a dialer that reaches nothing.
type nowhere struct{}

func (nowhere) Dial(_, _ string) (net.Conn, error) { return nil, errors.New("unreachable") }

// FuzzStored checks that an event comes out of NATS with the same name and the same JSON.
func FuzzStored(f *testing.F) {
	for _, data := range []string{
		"null", `"a\nb"`, `"\u0000\u2028\ufeff<>&"`, "\"\u2028\ufeff\u0085\"", "{\n\"a\":\r\n[\r1,\n\n2]\n}", "1e400", "-0", "12345678901234567890.10", `{"a":1,"a":2}`, `"\ud800"`,
	} {
		f.Add("news", "lobby", data)
	}
	f.Add("data: x", "\u2028<>&", "1")
	n, _ := newAlone(f)
	f.Fuzz(func(t *testing.T, event, room, data string) {
		if !json.Valid([]byte(data)) || !utf8.ValidString(event) || !utf8.ValidString(room) || !utf8.ValidString(data) {
			t.Skip("not accepted")
		}
		got, ok := n.parse(encode(stored{Room: room, Event: event, Data: json.RawMessage(data)}), 7, time.Time{})
		if !ok || got.Name != event || got.Seq != 7 || !reflect.DeepEqual(exactly(t, string(got.Data)), exactly(t, data)) {
			t.Fatalf("got %q %q, %v, want %q %q", got.Name, got.Data, ok, event, data)
		}
	})
}

// exactly decodes JSON without a loss of digits.
func exactly(t *testing.T, text string) any {
	t.Helper()
	in := json.NewDecoder(strings.NewReader(text))
	in.UseNumber()
	var v any
	if err := in.Decode(&v); err != nil {
		t.Fatalf("%q is no JSON: %v", text, err)
	}
	return v
}

// FuzzMessage checks that no message on any subject crashes a node, or removes users from the count without a goodbye.
func FuzzMessage(f *testing.F) {
	for _, data := range []string{
		"", "null", "{}", "[]", `{"room":"lobby","event":"news","data":1}`, `{"event":"news"}`, `{"event":"io:gap","data":{"missed":1}}`, `{"event":"","data":1}`,
		`{"stored":18446744073709551615}`, `{"leave":["client-0001"]}`, "\xff", `{"data":`,
	} {
		for kind := range uint8(3) {
			f.Add(kind, "7", "6", []byte(data))
		}
	}
	lobby := token("lobby")
	for _, m := range []union.Message{
		union.Delta{Node: "beefbeef", Room: lobby, Instance: 1, Seq: 1, Joined: []uint64{union.Hash(nil, "client-0001")}},
		union.Closed{Node: "beefbeef", Room: lobby, Instance: 1 << 62},
		union.Goodbye{Room: lobby, Users: []uint64{1}},
		union.Renew{Room: lobby, Users: []uint64{1}},
	} {
		f.Add(uint8(2), "", "", union.Append(nil, m))
	}
	f.Add(uint8(0), "18446744073709551615", "18446744073709551614", []byte(`{"event":"news","data":1}`))
	f.Add(uint8(0), "9", "8", []byte(`{"event":"news","data":1}`)) // an event before it is missing
	f.Add(uint8(0), "x", "", []byte(`{}`))
	f.Fuzz(func(t *testing.T, kind uint8, seq, before string, data []byte) {
		n, reader := newAlone(t)
		m := &nats.Msg{Data: data, Header: nats.Header{}}
		switch kind % 3 {
		case 0:
			m.Header.Set(jetstream.SequenceHeader, seq)
			m.Header.Set(jetstream.LastSequenceHeader, before)
			n.onLive(n.room("lobby"), m)
		case 1:
			n.onLive(n.room("lobby"), m)
		case 2:
			n.onSets(m)
		}
		if got := n.users.Count("lobby"); got != 2 {
			t.Errorf("got %d users of this node, want 2", got)
		}
		if all := n.Count(t.Context(), "lobby"); all < 2 {
			t.Errorf("got %d users on all nodes, want at least the 2 here", all)
		}
		var batch hub.Batch
		for reader.Pending(&batch) {
			reader.Advance(&batch, batch.Len())
		}
	})
}

// FuzzAwait checks that a subscriber with any cursor does not wait without NATS.
func FuzzAwait(f *testing.F) {
	for _, cursor := range []string{
		"", "17", "e1.6.beefbeef.2", "e1.7.beefbeef.2", "e1.18446744073709551615.beefbeef.1", "e1.99999999999999999999.beefbeef.1", "e2.6.beefbeef.2", "....", ".1.beefbeef.0", "e1.6.beefbeef.2.YUXH3CAV", "\x00",
	} {
		f.Add(cursor)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		n, _ := newAlone(t)
		epoch := "e1"
		n.epoch.Store(&epoch)
		begin := time.Now()
		if n.Await(t.Context(), "lobby", cursor); time.Since(begin) >= longest {
			t.Errorf("a reader waited for %v", time.Since(begin))
		}
	})
}

// newAlone returns a node without NATS. Its room lobby is loaded up to event 6, and has a subscriber and two users. One
// of them has the client id client-0001.
func newAlone(t testing.TB) (*Node, *hub.Sub) {
	t.Helper()
	b, err := New(Options{Servers: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	table := presence.NewJournaled(time.Minute)
	h, joined, err := b.Join(hub.Options{}, table)
	if err != nil {
		t.Fatal(err)
	}
	n := joined.(*Node)
	n.begun = n.begun.Add(-longest) // it does not wait for its first connection any more
	t.Cleanup(n.nc.Close)
	room := h.Open("lobby")
	n.room("lobby").feed.complete, n.room("lobby").feed.last = true, 6
	table.Open("lobby", "client-0001", quiet{})
	table.Open("lobby", "", quiet{})
	return n, room.Join(hub.JoinOptions{})
}

// quiet is a stream that does nothing.
type quiet struct{}

func (quiet) Left() {}

func (quiet) Ticket() *presence.Ticket { return new(presence.Ticket) }
