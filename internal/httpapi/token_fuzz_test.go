package httpapi_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"headcount/internal/auth"
)

// FuzzSignedToken checks that of all signed tokens only one that has not expired and lists the room opens a private
// room.
func FuzzSignedToken(f *testing.F) {
	good := `{"exp":32503680000,"headcount":{"subscribe":["boss"]}}`
	for _, head := range []string{`{"alg":"HS256","typ":"JWT"}`, `{"alg":"none"}`, `{"alg":"HS512"}`, `{"alg":"ES256"}`, `{"alg":["HS256"]}`, `{"alg":"HS256","crit":["b64"],"b64":false}`, `{}`, ``, "\xff", `{"alg":"hs256"}`} {
		f.Add(head, good)
	}
	for _, claims := range []string{
		`{"headcount":{"subscribe":["boss"]}}`, `{"exp":1,"headcount":{"subscribe":["boss"]}}`, `{"exp":"32503680000","headcount":{"subscribe":["boss"]}}`, `{"exp":1e400,"headcount":{"subscribe":["*"]}}`,
		`{"exp":32503680000,"nbf":32503680000,"headcount":{"subscribe":["*"]}}`, `{"exp":-1,"headcount":null}`, `{"exp":32503680000,"headcount":{"subscribe":"boss"}}`, `{"exp":32503680000,"headcount":{"subscribe":[null,"b*s"]}}`, `[]`, `null`, ``,
		`{"exp":9223372036854775807,"headcount":{"subscribe":["*"]}}`, `{"exp":1.5e300,"headcount":{"subscribe":["*"]}}`, `{"exp":32503680000,"EXP":1,"HEADCOUNT":{"SUBSCRIBE":["boss"]}}`,
	} {
		f.Add(`{"alg":"HS256"}`, claims)
	}
	key, err := auth.ParseKey(secret)
	if err != nil {
		f.Fatal(err)
	}
	s := newFuzzed(f, options{Key: key, Private: []string{"team-*", "boss"}})
	ask := func(token string) int {
		return s.do("GET", "/count?room=boss", "", "Authorization", "Bearer "+token).Code
	}
	f.Fuzz(func(t *testing.T, head, claims string) {
		text := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(text))
		sum := mac.Sum(nil)
		code := ask(text + "." + base64.RawURLEncoding.EncodeToString(sum))
		if code != http.StatusOK && code != http.StatusUnauthorized && code != http.StatusForbidden {
			t.Fatalf("signed %q.%q: got %d", head, claims, code)
		}
		sum[0] ^= 1
		if forged := ask(text + "." + base64.RawURLEncoding.EncodeToString(sum)); forged != http.StatusUnauthorized {
			t.Errorf("forged %q.%q: got %d, want 401", head, claims, forged)
		}
		if code != http.StatusOK {
			return
		}
		var said struct {
			Exp       json.Number
			Headcount struct{ Subscribe []string }
		}
		if err := json.Unmarshal([]byte(claims), &said); err != nil {
			t.Fatalf("claims %q opened a room: %v", claims, err)
		}
		end, err := said.Exp.Float64()
		if err == nil && end < float64(time.Now().Add(-time.Minute).Unix()) || !slices.ContainsFunc(said.Headcount.Subscribe, func(p string) bool { return auth.Match(p, "boss") }) {
			t.Errorf("claims %q opened a room", claims)
		}
	})
}

// FuzzToken checks that any invalid token gets a 401 that does not show it, and that nobody can make a token without
// the key.
func FuzzToken(f *testing.F) {
	key, err := auth.ParseKey(secret)
	if err != nil {
		f.Fatal(err)
	}
	s := newFuzzed(f, options{Key: key, Private: []string{"*"}})
	for _, text := range []string{
		`{"alg":"none"}.{"exp":9e99,"headcount":{"subscribe":["*"]}}.`,
		`{"alg":"HS256"}.{"exp":1e400,"headcount":{"subscribe":["*"]}}.x`,
		`{"alg":["HS256"]}.{"exp":-1,"headcount":[]}.`,
		`{"alg":"HS256","crit":["x"]}.{"exp":"9"}.=`,
		`..`, `....`, ``,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts := strings.Split(text, ".")
		for i, p := range parts {
			parts[i] = encode(p)
		}
		for _, token := range []string{text, strings.Join(parts, ".")} {
			w := s.do("GET", "/count", "", "Authorization", "Bearer "+token)
			if w.Code != 401 || len(token) > 20 && strings.Contains(w.Body.String(), token) {
				t.Errorf("token %q: got %d %s, want 401", token, w.Code, w.Body)
			}
		}
	})
}
