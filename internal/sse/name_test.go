package sse_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"headcount/internal/sse"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name        string
		value       string
		room, event bool // whether it may be one
	}{
		{"simple", "lobby", true, true},
		{"one byte", "x", true, true},
		{"128 bytes", strings.Repeat("x", 128), true, true},
		{"128 bytes of 2-byte runes", strings.Repeat("ü", 64), true, true},
		{"spaces", "  two words ", true, true},
		{"emoji", "👋", true, true},
		{"line separator", "a\u2028b", true, true},
		{"byte order mark", "\ufeffa", true, true},
		{"colon", "a:b", true, true},
		{"empty", "", false, false},
		{"129 bytes", strings.Repeat("x", 129), false, false},
		{"130 bytes of 2-byte runes", strings.Repeat("ü", 65), false, false},
		{"NUL", "a\x00", false, false},
		{"LF", "a\nb", false, false},
		{"CR", "a\rb", false, false},
		{"tab", "a\tb", false, false},
		{"DEL", "a\x7f", false, false},
		{"NEL", "a\u0085", false, false},
		{"not UTF-8", "a\xff", false, false},
		{"half a rune", "ü"[:1], false, false},
		{"the count", "user count", true, false},
		{"like the count", "user  count", true, true},
		{"a signal", "io:hello", true, false},
		{"any signal", "io:", true, false},
		{"like a signal", "IO:hello", true, true},
		{"open", "open", true, false},
		{"error", "error", true, false},
		{"message", "message", true, false},
		{"connect", "connect", true, false},
		{"connect_error", "connect_error", true, false},
		{"disconnect", "disconnect", true, false},
		{"disconnecting", "disconnecting", true, false},
		{"newListener", "newListener", true, false},
		{"removeListener", "removeListener", true, false},
		{"of an object in JavaScript", "constructor", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := sse.CheckRoom(tt.value); (err == nil) != tt.room {
				t.Errorf("room: got %v, want %v", err, tt.room)
			}
			if err := sse.CheckName(tt.value); (err == nil) != tt.event {
				t.Errorf("event: got %v, want %v", err, tt.event)
			}
		})
	}
}

// FuzzNames checks that a refusal is one printable line, and that every accepted name follows the rules.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"", "lobby", "a\n", "\xff", "io:x", "user count", "\u2028", "\ufeff", "\u0085", strings.Repeat("ü", 65)} {
		f.Add(name)
	}
	control := regexp.MustCompile(`\p{Cc}`)
	f.Fuzz(func(t *testing.T, name string) {
		fine := name != "" && len(name) <= 128 && utf8.ValidString(name) && !control.MatchString(name)
		if err := sse.CheckRoom(name); (err == nil) != fine {
			t.Errorf("room %q: got %v, want %v", name, err, fine)
		}
		err := sse.CheckName(name)
		if err == nil && !fine {
			t.Errorf("event %q may be emitted", name)
		}
		if err != nil && (!utf8.ValidString(err.Error()) || control.MatchString(err.Error())) {
			t.Errorf("event %q: the error is not one line of text: %q", name, err)
		}
	})
}

// FuzzClientID compares with the rule as a regular expression.
func FuzzClientID(f *testing.F) {
	for _, id := range []string{"", "abcdefg", "abcdefgh", "A-_9aaaa", strings.Repeat("a", 64), strings.Repeat("a", 65), "abcdefgü", "abcdefg\n", "abcdefgh\n"} {
		f.Add(id)
	}
	rule := regexp.MustCompile(`\A[A-Za-z0-9_-]{8,64}\z`)
	f.Fuzz(func(t *testing.T, id string) {
		if err := sse.CheckClientID(id); (err == nil) != rule.MatchString(id) {
			t.Errorf("id %q: got %v", id, err)
		}
	})
}
