package auth_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"headcount/internal/auth"
)

// FuzzPattern compares a pattern with the regular expression in which each * is .* and everything else is literal.
func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{{"team-*", "team-a/b"}, {"*", ""}, {"a*a", "a"}, {"*a*b*", "xaxbx"}, {"a**b", "ab"}, {"[a]", "a"}, {"*ab*ba*", "aba"}, {"", ""}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(name) {
			return // not valid names
		}
		want := regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `$`).MatchString(name)
		if got := auth.Match(pattern, name); got != want {
			t.Errorf("pattern %q, name %q: got %v, want %v", pattern, name, got, want)
		}
	})
}
