package hub_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"headcount/internal/hub"
)

// A cursor that this hub did not write never causes an error, and is never ignored silently.
func TestUnknownCursors(t *testing.T) {
	h := hub.New(hub.Options{})
	good := h.Emit("a", "n", []byte("1"))
	part := strings.Split(good, ".")
	for range 3 {
		h.Emit("b", "n", []byte("1"))
	}
	other := h.Emit("b", "n", []byte("1"))
	restarted := hub.New(hub.Options{}).Emit("a", "n", []byte("1"))
	for name, cursor := range map[string]string{
		"from before a restart": restarted,
		"of another room":       other,
		"of a room, same event": strings.Replace(other, ".4.", ".1.", 1),
		"not a cursor":          "17",
		"dots":                  "...",
		"truncated":             good[:len(good)/2],
		"future":                part[0] + ".2." + part[2] + ".0",
		"far future":            fmt.Sprintf("%s.%d.%s.0", part[0], uint64(math.MaxUint64), part[2]),
		"no number":             part[0] + ".x." + part[2] + ".0",
		"negative":              part[0] + ".-1." + part[2] + ".0",
		"more than 64 bits":     part[0] + ".18446744073709551616." + part[2] + ".0",
		"control characters":    "\x00\x01",
		"long":                  strings.Repeat("9.", 10_000),
	} {
		join(h.Open("a"), hub.JoinOptions{Cursor: cursor}).want(t, name, `io:gap {"missed":null}`, "n 1")
	}
	for name, cursor := range map[string]string{
		"as it was":       good,
		"other node":      part[0] + ".1.xxxx.77",
		"strange version": part[0] + ".1." + part[2] + ".99999999999999999999",
	} {
		join(h.Open("a"), hub.JoinOptions{Cursor: cursor}).want(t, name)
	}
	join(h.Open("a"), hub.JoinOptions{Cursor: part[0] + ".0." + part[2] + ".0"}).want(t, "before the first", "n 1")
}

// FuzzCursor checks that the stream opens whatever cursor a client sends, and that it begins with a gap unless the
// cursor is one of this hub's.
func FuzzCursor(f *testing.F) {
	for _, cursor := range []string{"", "17", "a.1.b.2", "....", "\x00", "a.1.b", strings.Repeat("1", 5000)} {
		f.Add(cursor, uint64(0), uint64(0))
	}
	f.Add("", uint64(1), uint64(1))
	f.Add("", uint64(math.MaxUint64), uint64(math.MaxUint64))
	h := hub.New(hub.Options{History: 2})
	room := h.Open("a")
	room.Update("user count", set("1"))
	var tags []string
	for n := range 5 {
		tags = strings.Split(h.Emit("a", "n", []byte(strconv.Itoa(n+1))), ".")
	}
	kept := []string{"user count 1", "n 4", "n 5"}
	f.Fuzz(func(t *testing.T, cursor string, seq, version uint64) {
		if cursor != "" {
			join(room, hub.JoinOptions{Cursor: cursor}).want(t, cursor, append([]string{`io:gap {"missed":null}`}, kept...)...)
		}
		cursor = fmt.Sprintf("%s.%d.%s.%d", tags[0], seq, tags[2], version)
		got := join(room, hub.JoinOptions{Cursor: cursor})
		switch {
		case seq < 3:
			got.want(t, cursor, append([]string{fmt.Sprintf(`io:gap {"missed":%d}`, 3-seq)}, kept...)...)
		case seq <= 5:
			got.want(t, cursor, append([]string{"user count 1"}, kept[1+seq-3:]...)...)
		default:
			got.want(t, cursor, append([]string{`io:gap {"missed":null}`}, kept...)...)
		}
	})
}

// When the sequence starts anew, each subscriber gets one gap. This includes a subscriber in the middle of an event,
// and one that got its gap before others did.
func TestReset(t *testing.T) {
	h := hub.New(hub.Options{})
	room := h.Open("a")
	room.Update("user count", set("1"))
	level, inside, behind := join(room, hub.JoinOptions{}), join(room, hub.JoinOptions{}), join(room, hub.JoinOptions{})
	old := h.Emit("a", "n", []byte("1"))
	level.read()
	inside.read()
	h.Emit("a", "n", []byte("2"))
	level.read()
	inside.sub.Pending(&inside.batch)
	inside.take(5)
	h.Reset("anew", 0)
	anew := []string{`io:gap {"missed":null}`, "user count 1"}
	level.want(t, "level", append([]string{"user count 1", "n 1", "n 2"}, anew...)...)
	last := h.Emit("a", "n", []byte("1"))
	anew = append(anew, "n 1")
	level.want(t, "level", append([]string{"user count 1", "n 1", "n 2"}, anew...)...)
	inside.want(t, "inside", append([]string{"user count 1", "n 1", "n 2"}, anew...)...)
	behind.want(t, "behind", append([]string{"user count 1"}, anew...)...)
	join(room, hub.JoinOptions{Cursor: old}).want(t, "back with an old cursor", anew...)
	join(room, hub.JoinOptions{Cursor: last}).want(t, "back with a new cursor", "user count 1")
	for range 2000 {
		h.Emit("a", "n", []byte("x"))
	}
	if got := join(room, hub.JoinOptions{Cursor: last}).events()[0]; got != `io:gap {"missed":1000}` {
		t.Errorf("got %s, want 1000 missed", got)
	}
}

func TestParseCursor(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       hub.Cursor
		ok         bool
	}{
		{"of a stream", "e.12.n.7", hub.Cursor{Epoch: "e", Seq: 12, Node: "n", Version: 7}, true},
		{"of a poll", "e.12.n.7.poller-1", hub.Cursor{Epoch: "e", Seq: 12, Node: "n", Version: 7, Poller: "poller-1"}, true},
		{"of a poll with a name that is none", "e.12.n.7.a.b", hub.Cursor{Epoch: "e", Seq: 12, Node: "n", Version: 7}, true},
		{"with a version that is none", "e.12.n.x", hub.Cursor{Epoch: "e", Seq: 12, Node: "n"}, true},
		{"three parts", "e.12.n", hub.Cursor{}, false},
		{"nothing", "", hub.Cursor{}, false},
		{"a sequence that is none", "e.x.n.7", hub.Cursor{}, false},
	} {
		got, ok := hub.ParseCursor(row.text)
		if got != row.want || ok != row.ok {
			t.Errorf("%s: got %+v %v, want %+v %v", row.name, got, ok, row.want, row.ok)
		}
		if again, _ := hub.ParseCursor(got.String()); ok && again != got {
			t.Errorf("%s: written and read again got %+v, want %+v", row.name, again, got)
		}
	}
}
