package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// leeway is how far clocks may be apart: a token is good for that much longer than it says.
const leeway = 5 * time.Second

// maxToken is the longest token that is looked at, in bytes: the header of a request is not
// much longer.
const maxToken = 8 << 10

// tokenCookie is the cookie that may hold a token.
const tokenCookie = "headcount_token"

// claims is what a token says.
type claims struct {
	jwt.RegisteredClaims
	// Under a name of its own, as Mercure does it: other services may read the same token.
	Headcount grant `json:"headcount"`
}

// grant is what a token allows: patterns of rooms and of events.
type grant struct {
	Subscribe []string `json:"subscribe"`
	Emit      []string `json:"emit"`
	Events    []string `json:"events"` // that it may emit; not there = any

	until time.Time // when it ends; zero = never
}

// everything is what the server's own -token allows.
func everything() grant { return grant{Subscribe: []string{"*"}, Emit: []string{"*"}} }

// tokenOf returns the token of a request: what was said for it alone goes before what a
// browser sends with each.
func tokenOf(r *http.Request) string {
	if token := bearer(r); token != "" {
		return token
	}
	// As browsers read queries: a semicolon is a character like others. What is not well formed is left out.
	q, _ := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"))
	if token := q.Get("token"); token != "" {
		return token
	}
	if cookie, err := r.Cookie(tokenCookie); err == nil {
		return cookie.Value
	}
	return ""
}

// bearer returns the token of the Authorization header, or "".
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	// "the scheme is case-insensitive": RFC 9110, section 11.1.
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// check returns what a token allows, or a sentence that says why it is none. It tells
// nothing of the server's own token by the time it takes.
func (p *Policy) check(token string) (grant, error) {
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(p.Token))
	if p.Token != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
		return everything(), nil
	}
	wrong := errors.New("the token is not valid; get one that is signed with this server's -key")
	if p.Key == nil || len(token) > maxToken {
		return grant{}, wrong
	}
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return p.Key.material, nil },
		// The key says which algorithms there are, never the token: RFC 8725, section 3.1.
		jwt.WithValidMethods(p.Key.methods), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(time.Now))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return grant{}, errors.New("the token has expired; get a new one")
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return grant{}, errors.New("the token is not valid yet; look at its nbf and at the clocks")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return grant{}, errors.New("the token has no exp; get one that ends some time")
	case err != nil:
		return grant{}, wrong // which part of it, a stranger need not know
	}
	c.Headcount.until = c.ExpiresAt.Add(leeway)
	return c.Headcount, nil
}
