package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"headcount/internal/auth"
)

// A claim that the server does not understand grants nothing.
func TestTokenNotUnderstood(t *testing.T) {
	inBubble(t, privateRooms(t), func(t *testing.T, b *rig) {
		emit := func(token string) (status int, words string) {
			a := b.emit(`{"event":"news","room":"team-a"}`, false, "Authorization", "Bearer "+token)
			return a.StatusCode, a.Body
		}
		for _, tt := range []struct {
			name, grant string
			status      int
			want        string // in the sentence
		}{
			{"any event", `{"emit":["team-*"]}`, 200, ""},
			{"that event", `{"emit":["team-*"],"events":["news"]}`, 200, ""},
			{"another event", `{"emit":["team-*"],"events":["other"]}`, 403, "headcount.events"},
			{"no event", `{"emit":["team-*"],"events":[]}`, 403, "headcount.events"},
			{"null", `{"emit":["team-*"],"events":null}`, 401, "events"},
			{"misspelt", `{"emit":["team-*"],"event":["other"]}`, 401, `"event"`},
			{"other letters", `{"emit":["team-*"],"Events":["other"]}`, 401, `"Events"`},
			{"a text", `{"emit":["team-*"],"events":"other"}`, 401, "events"},
			{"null in a list", `{"emit":["team-*"],"events":[null]}`, 401, "events"},
			{"a number in a list", `{"emit":["team-*",7]}`, 401, "emit"},
			{"nothing", `null`, 403, "headcount.emit"},
			{"a list", `["team-*"]`, 401, "an object"},
		} {
			var grant any
			if err := json.Unmarshal([]byte(tt.grant), &grant); err != nil {
				t.Fatal(err)
			}
			token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(time.Minute).Unix(), "headcount": grant}).SignedString([]byte(secret))
			if err != nil {
				t.Fatal(err)
			}
			if status, body := emit(token); status != tt.status || !strings.Contains(body, strings.ReplaceAll(tt.want, `"`, `\"`)) {
				t.Errorf("%s: got %d %s, want %d and something with %q", tt.name, status, body, tt.status, tt.want)
			}
		}

		// "If any of the listed extension Header Parameters are not understood …, then the JWS is invalid."
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(time.Minute).Unix(), "headcount": map[string]any{"emit": []string{"*"}}})
		token.Header["crit"] = []string{"x"}
		text, err := token.SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		if status, body := emit(text); status != 401 {
			t.Errorf("with crit: got %d %s, want 401", status, body)
		}
		// A claim with another name belongs to another service.
		text, err = jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(time.Minute).Unix(), "HEADCOUNT": map[string]any{"emit": []string{"*"}}}).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		if status, body := emit(text); status != 403 {
			t.Errorf("HEADCOUNT: got %d %s, want 403", status, body)
		}
	})
}

// The cookie is valid for pages of this site and of named origins, but not for pages that only "*" allows.
func TestCookieOfOtherOrigins(t *testing.T) {
	opt := privateRooms(t)
	opt.Origins = auth.Origins{"*", "https://friend.test"}
	inBubble(t, opt, func(t *testing.T, b *rig) {
		cookie := "headcount_token=" + member(t)
		for origin, want := range map[string]int{"": 200, "http://headcount.test": 200, "https://friend.test": 200, "https://evil.test": 401, "null": 401} {
			header := []string{"Cookie", cookie}
			if origin != "" {
				header = append(header, "Origin", origin)
			}
			if a := b.Do("GET", "/count?room=team-a", "", header...); a.StatusCode != want {
				t.Errorf("from %q: got %s, want %d", origin, a.Status, want)
			}
		}
	})
}
