package httpapi_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"headcount/internal/auth"

	"github.com/golang-jwt/jwt/v5"

	"headcount/internal/sse/ssetest"
)

const secret = "0123456789abcdef0123456789abcdef"

// sign returns a token with headcount's claim that expires after life; 0 = never.
func sign(t *testing.T, method jwt.SigningMethod, key any, life time.Duration, grant map[string]any) string {
	t.Helper()
	c := jwt.MapClaims{"headcount": grant}
	if life != 0 {
		c["exp"] = time.Now().Add(life).Unix()
	}
	token, err := jwt.NewWithClaims(method, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// member returns a token for the team's rooms that is valid for a minute.
func member(t *testing.T) string {
	return sign(t, jwt.SigningMethodHS256, []byte(secret), time.Minute, map[string]any{"subscribe": []string{"team-*"}})
}

func keyOf(t *testing.T, text string) *auth.Key {
	t.Helper()
	key, err := auth.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func privateRooms(t *testing.T) options {
	return options{Key: keyOf(t, secret), Private: []string{"team-*", "boss"}, Token: "static", Linger: 2 * time.Second}
}

// Without a token, no request about a private room gets an answer or changes anything.
func TestPrivateWays(t *testing.T) {
	inBubble(t, privateRooms(t), func(t *testing.T, b *rig) {
		token := member(t)
		s := b.Open("room=team-a&id=abcdefgh", "Authorization", "Bearer "+token)
		ids := `{"room":"team-a","ids":["abcdefgh"]}`
		for _, way := range []struct{ method, path, body string }{
			{"GET", "/events?room=team-a", ""},
			{"HEAD", "/events?room=team-a", ""},
			{"GET", "/events?stream=team-a", ""},
			{"GET", "/events?room=team-a&poll=1", ""},
			{"GET", "/count?room=team-a", ""},
			{"GET", "/badge.svg?room=team-a", ""},
			{"POST", "/alive", ids},
			{"POST", "/leave", ids},
		} {
			a := b.Do(way.method, way.path, way.body)
			if a.StatusCode != 401 || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer ") || a.Header.Get("Retry-After") != "" {
				t.Errorf("%s %s without a token: got %d %v %s, want 401 and WWW-Authenticate", way.method, way.path, a.StatusCode, a.Header, a.Body)
			}
			other := sign(t, jwt.SigningMethodHS256, []byte(secret), time.Minute, map[string]any{"subscribe": []string{"team-b", "boss"}})
			if a := b.Do(way.method, way.path, way.body, "Authorization", "Bearer "+other); a.StatusCode != 403 {
				t.Errorf("%s %s with the token of another room: got %d %s, want 403", way.method, way.path, a.StatusCode, a.Body)
			}
		}
		if err := s.Ended(); err != nil {
			t.Errorf("the member's stream ended with %v", err)
		}
		if n := b.users("team-a"); n != 1 {
			t.Errorf("got %d users, want 1", n)
		}
		s.WantCounts("1")
		for _, path := range []string{"/count?room=team-a", "/badge.svg?room=team-a"} {
			if a := b.Do("GET", path, "", "Authorization", "Bearer "+token); a.StatusCode != 200 {
				t.Errorf("%s with a token: got %d %s, want 200", path, a.StatusCode, a.Body)
			}
		}
		// Other rooms are not affected.
		b.Open("").WantCounts("1")
		b.Open("room=team").WantCounts("1")
		for _, path := range []string{"/alive", "/leave"} {
			if a := b.Do("POST", path, ids, "Authorization", "Bearer "+token); a.StatusCode != 204 {
				t.Errorf("%s with a token: got %d %s, want 204", path, a.StatusCode, a.Body)
			}
		}
		if n := b.users("team-a"); n != 0 {
			t.Errorf("got %d users after leave, want 0", n)
		}
	})
}

// A token comes in the header, the query or a cookie, and the first of them is used.
func TestTokenPlaces(t *testing.T) {
	inBubble(t, privateRooms(t), func(t *testing.T, b *rig) {
		token := member(t)
		for _, tt := range []struct {
			name, query string
			header      []string
			want        int
		}{
			{"header", "", []string{"Authorization", "bearer  " + token}, 200},
			{"query", "&token=" + token, nil, 200},
			{"cookie", "", []string{"Cookie", "a=b; headcount_token=" + token}, 200},
			{"the server's own", "&token=static", nil, 200},
			{"beside a proxy's password", "&token=" + token, []string{"Authorization", "Basic YTpi"}, 200},
			{"beside a proxy's password, in a header of its own", "", []string{"Authorization", "Basic YTpi", "Headcount-Token", token}, 200},
			{"its own header before all others", "&token=" + token, []string{"Authorization", "Bearer " + token, "Headcount-Token", "no"}, 401},
			{"query before cookie", "&token=" + token, []string{"Cookie", "headcount_token=no"}, 200},
			{"header before query", "&token=" + token, []string{"Authorization", "Bearer no"}, 401},
			{"empty", "&token=", []string{"Cookie", "headcount_token="}, 401},
		} {
			a := b.Do("GET", "/count?room=team-a"+tt.query, "", tt.header...)
			if a.StatusCode != tt.want {
				t.Errorf("%s: got %d %s, want %d", tt.name, a.StatusCode, a.Body, tt.want)
			}
		}
	})
}

// A stream and a poll end when their token expires. A client that reconnects with it gets 401.
func TestTokenExpiry(t *testing.T) {
	inBubble(t, privateRooms(t), func(t *testing.T, b *rig) {
		token := member(t)
		s := b.Open("room=team-a&token=" + token)
		time.Sleep(50 * time.Second)
		polled := time.Now()
		first := b.Do("GET", "/events?room=team-a&poll=1&token="+token, "")
		in := ssetest.NewReader(strings.NewReader(first.Body))
		in.Next()
		a := b.Do("GET", "/events?room=team-a&poll=1&token="+token, "", "Last-Event-ID", in.LastEventID())
		// The polling client is in its grace period, so the count does not change, and its poll would take 20 s.
		if d := time.Since(polled); a.StatusCode != 200 || d < 14*time.Second || d > 16*time.Second {
			t.Errorf("the poll was answered with %d after %v, want 200 after 15 s", a.StatusCode, d)
		}
		if err := s.Ended(); err != io.EOF {
			t.Errorf("got %v after the token's end, want a clean end", err)
		}
		if last := s.Got()[len(s.Got())-1]; last.Retry == "" || last.At.Sub(polled) < 14*time.Second {
			t.Errorf("the last block is %+v, want a retry at the token's end", last)
		}
		words := b.Do("GET", "/events?room=team-a&token="+token, "").WantError(t, 401)
		if !strings.Contains(words, "expired") {
			t.Errorf("got %q, want that it has expired", words)
		}
		time.Sleep(10 * time.Second) // the poll's client was told to reconnect
		if n := b.users("team-a"); n != 0 {
			t.Errorf("got %d users, want 0", n)
		}
	})
}

// Tokens that were made or changed without the key are refused.
func TestForgedTokens(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public := publicPEM(t, rsaKey.Public())
	all := map[string]any{"subscribe": []string{"*"}}
	none := sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, time.Minute, all)
	forged := map[string]func(*testing.T) string{
		"none":                   func(*testing.T) string { return none },
		"none, in other letters": func(*testing.T) string { return strings.Replace(none, part(`{"alg":"none"`), part(`{"alg":"NoNe"`), 1) },
		"signed with the public key as a secret": func(t *testing.T) string {
			return sign(t, jwt.SigningMethodHS256, []byte(public), time.Minute, all)
		},
		"another secret": func(t *testing.T) string {
			return sign(t, jwt.SigningMethodHS256, []byte(strings.ToUpper(secret)), time.Minute, all)
		},
		"another RSA key": func(t *testing.T) string {
			other, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			return sign(t, jwt.SigningMethodRS256, other, time.Minute, all)
		},
		"no end": func(t *testing.T) string { return sign(t, jwt.SigningMethodHS256, []byte(secret), 0, all) },
		"over": func(t *testing.T) string {
			return sign(t, jwt.SigningMethodHS256, []byte(secret), -10*time.Second, all)
		},
		"other words under the signature": func(t *testing.T) string {
			p, q := strings.Split(member(t), "."), strings.Split(none, ".")
			return p[0] + "." + q[1] + "." + p[2]
		},
		"cut off": func(t *testing.T) string { p := strings.Split(member(t), "."); return p[0] + "." + p[1] + "." },
		"two":     func(t *testing.T) string { return member(t) + "." + member(t) },
		"long":    func(*testing.T) string { return strings.Repeat("a.", 4500) },
		"noise":   func(*testing.T) string { return "..a" },
	}
	for name, key := range map[string]string{"secret": secret, "public key": public} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			opt := privateRooms(t)
			opt.Key, opt.Log = keyOf(t, key), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			inBubble(t, opt, func(t *testing.T, b *rig) {
				for name, token := range forged {
					for _, way := range []string{"/count?room=team-a", "/events?room=team-a"} {
						a := b.Do("GET", way, "", "Authorization", "Bearer "+token(t))
						if words := a.WantError(t, 401); strings.Contains(words, token(t)) {
							t.Errorf("%s: the answer %q shows the token", name, words)
						}
					}
				}
			})
			if strings.Contains(fmt.Sprintf("%v %+v %#v", opt.Key, opt, opt), secret) || log.Len() != 0 {
				t.Errorf("the key or a token shows: %v, log %s", opt.Key, log.String())
			}
		})
	}
}

// part returns the beginning of text as it is encoded in a token.
func part(text string) string { return encode(text)[:len(text)] }

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// Each kind of key accepts only tokens that are signed with it, and only with its algorithms.
func TestKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	type signer struct {
		key    any
		method jwt.SigningMethod
	}
	keys := map[string][]signer{
		secret:                           {{[]byte(secret), jwt.SigningMethodHS256}, {[]byte(secret), jwt.SigningMethodHS512}},
		publicPEM(t, rsaKey.Public()):    {{rsaKey, jwt.SigningMethodRS256}, {rsaKey, jwt.SigningMethodPS384}},
		publicPEM(t, p256.Public()):      {{p256, jwt.SigningMethodES256}},
		publicPEM(t, ed.Public()) + "\n": {{ed, jwt.SigningMethodEdDSA}},
	}
	for text := range keys {
		opt := privateRooms(t)
		opt.Key = keyOf(t, text)
		inBubble(t, opt, func(t *testing.T, b *rig) {
			for other, signers := range keys {
				want := http.StatusUnauthorized
				if other == text {
					want = http.StatusOK
				}
				for _, by := range signers {
					token := sign(t, by.method, by.key, time.Minute, map[string]any{"subscribe": []string{"team-*"}})
					if a := b.Do("GET", "/count?room=team-a&token="+token, ""); a.StatusCode != want {
						t.Errorf("%.30q, a token of %s: got %d, want %d", text, by.method.Alg(), a.StatusCode, want)
					}
				}
			}
		})
	}
}

func publicPEM(t *testing.T, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// An invalid key gives a sentence that does not show it.
func TestNoKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(small)}))
	for text, want := range map[string]string{
		"short-secret":                    "12 bytes",
		publicPEM(t, small.Public()):      "1024 bits",
		publicPEM(t, p224.Public()):       "this kind of public key",
		private:                           "RSA PRIVATE KEY",
		"-----BEGIN PUBLIC KEY-----\nMIG": "cut off",
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})): "read public key",
	} {
		key, err := auth.ParseKey(text)
		if err == nil || key != nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "short-secret") {
			t.Errorf("%.40q: got %v, %v, want an error with %q", text, key, err, want)
		}
	}
}

// A token may be restricted to some rooms and events. The server's own token allows everything.
func TestEmitTokens(t *testing.T) {
	inBubble(t, privateRooms(t), func(t *testing.T, b *rig) {
		signed := func(grant map[string]any) string {
			return sign(t, jwt.SigningMethodHS256, []byte(secret), time.Minute, grant)
		}
		news := signed(map[string]any{"emit": []string{"team-*", "lobby"}, "events": []string{"news"}})
		for _, tt := range []struct {
			name, token, room, event string
			want                     int
		}{
			{"as it says", news, "team-a", "news", 200},
			{"a public room", news, "lobby", "news", 200},
			{"another room", news, "boss", "news", 403},
			{"another public room", news, "hall", "news", 403},
			{"another event", news, "team-a", "olds", 403},
			{"any event", signed(map[string]any{"emit": []string{"*"}}), "boss", "olds", 200},
			{"no event", signed(map[string]any{"emit": []string{"*"}, "events": []string{}}), "boss", "olds", 403},
			{"a reader's", member(t), "team-a", "news", 403},
			{"without what headcount reads", signed(nil), "lobby", "news", 403},
			{"the server's own", "static", "boss", "olds", 200},
			{"none", "", "lobby", "news", 401},
			{"wrong", "statiC", "lobby", "news", 401},
		} {
			body := fmt.Sprintf(`{"event":%q,"room":%q}`, tt.event, tt.room)
			a := b.Do("POST", "/emit", body, "Authorization", "Bearer "+tt.token)
			if a.StatusCode != tt.want {
				t.Errorf("%s: got %d %s, want %d", tt.name, a.StatusCode, a.Body, tt.want)
			}
			// Another site could send a cookie or a URL.
			if a := b.Do("POST", "/emit?token="+tt.token, body, "Cookie", "headcount_token="+tt.token); a.StatusCode != 401 {
				t.Errorf("%s, not in the header: got %d, want 401", tt.name, a.StatusCode)
			}
		}
		// A key of another token neither reveals the event nor suppresses one.
		emit := func(token, room string) string {
			return b.Do("POST", "/emit", `{"event":"news","room":"`+room+`"}`, "Authorization", "Bearer "+token, "Idempotency-Key", "k").Body
		}
		mine := emit(news, "team-a")
		if again := emit(news, "team-a"); again != mine {
			t.Errorf("got %s the second time, want %s", again, mine)
		}
		for _, other := range []string{emit("static", "boss"), emit(news, "lobby")} {
			if other == mine {
				t.Errorf("got %s for another event with the same key", other)
			}
		}
	})
}
