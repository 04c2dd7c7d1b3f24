package terminal_test

import (
	"testing"

	"headcount/client/terminal"
)

func TestWrap(t *testing.T) {
	tests := []struct {
		name, text string
		width      int
		want       string
	}{
		{"fits", "one two", 9, "one two"},
		{"breaks", "one two three", 9, "one two\n  three"},
		{"long word", "a verylongword b", 6, "a\n  verylongword\n  b"},
		{"letters, not bytes", "äää ööö", 9, "äää ööö"},
		{"nothing", "", 9, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := terminal.Wrap(tt.text, "  ", tt.width); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOneLine(t *testing.T) {
	if got, want := terminal.OneLine("a\nb\x1b[2Jc\u009bé"), "a\uFFFDb\uFFFD[2Jc\uFFFDé"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
