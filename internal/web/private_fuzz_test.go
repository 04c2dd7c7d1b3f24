package web_test

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"headcount/internal/web"
)

// A pattern is what a regular expression would be in which each * is .* and nothing else
// has a meaning.
func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{{"team-*", "team-a/b"}, {"*", ""}, {"a*a", "a"}, {"*a*b*", "xaxbx"}, {"a**b", "ab"}, {"[a]", "a"}, {"*ab*ba*", "aba"}, {"", ""}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(name) {
			return // no names
		}
		want := regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `$`).MatchString(name)
		if got := web.Match(pattern, name); got != want {
			t.Errorf("pattern %q, name %q: got %v, want %v", pattern, name, got, want)
		}
	})
}

// Whatever is sent as a token, it is a 401 that does not show it; nothing that is put
// together without the key lets anybody in.
func FuzzToken(f *testing.F) {
	key, err := web.ParseKey(secret)
	if err != nil {
		f.Fatal(err)
	}
	app, err := web.New(web.Options{Key: key, Private: []string{"*"}, Writer: web.Portable})
	if err != nil {
		f.Fatal(err)
	}
	defer app.Close()
	for _, s := range []string{
		`{"alg":"none"}.{"exp":9e99,"headcount":{"subscribe":["*"]}}.`,
		`{"alg":"HS256"}.{"exp":1e400,"headcount":{"subscribe":["*"]}}.x`,
		`{"alg":["HS256"]}.{"exp":-1,"headcount":[]}.`,
		`{"alg":"HS256","crit":["x"]}.{"exp":"9"}.=`,
		`..`, `....`, ``,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts := strings.Split(text, ".")
		for i, p := range parts {
			parts[i] = encode(p)
		}
		for _, token := range []string{text, strings.Join(parts, ".")} {
			r, w := httptest.NewRequest("GET", "/count", nil), httptest.NewRecorder()
			r.Header.Set("Authorization", "Bearer "+token)
			app.ServeHTTP(w, r)
			if w.Code != 401 || len(token) > 20 && strings.Contains(w.Body.String(), token) {
				t.Errorf("token %q: got %d %s, want 401", token, w.Code, w.Body)
			}
		}
	})
}
