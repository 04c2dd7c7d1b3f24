package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/labstack/echo/v4"

	"headcount/internal/sse"
)

// Private rooms: who is in them, and how many, is for those who bring a token that names
// the room. Everything else, such as lobby, stays for everybody.

// leeway is how far clocks may be apart: a token is good for that much longer than it says.
const leeway = 5 * time.Second

// maxToken is the longest token that is looked at, in bytes: the header of a request is not
// much longer.
const maxToken = 8 << 10

// tokenCookie is the cookie that may hold a token.
const tokenCookie = "headcount_token"

// ParseRooms reads a comma-separated list of patterns, for Options.Private.
func ParseRooms(list string) ([]string, error) {
	var patterns []string
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if one == "" && list == "" {
			break
		}
		if err := sse.CheckRoom(one); err != nil {
			return nil, fmt.Errorf("-private: %w", err)
		}
		patterns = append(patterns, one)
	}
	return patterns, nil
}

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

// private says that the room is for those who have a token.
func (s *Server) private(room string) bool { return anyMatch(s.opt.Private, room) }

// admit returns until when the request may know of the room; zero = for ever.
func (s *Server) admit(c echo.Context, room string) (time.Time, error) {
	if !s.private(room) {
		return time.Time{}, nil
	}
	// What a picture shows is in its width, too, and a page of another site can measure that.
	c.Response().Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	token := tokenOf(c.Request())
	if token == "" {
		return time.Time{}, unauthorized(c, "", fmt.Sprintf("room %q is private; send a token that names it, as Authorization: Bearer TOKEN, ?token=TOKEN or the cookie %s", room, tokenCookie))
	}
	g, err := s.check(token)
	if err != nil {
		return time.Time{}, unauthorized(c, "invalid_token", err.Error())
	}
	if !anyMatch(g.Subscribe, room) {
		return time.Time{}, forbidden(c, fmt.Sprintf("the token does not name the room %q; get one whose headcount.subscribe does", room))
	}
	return g.until, nil
}

// keepPrivate refuses what shows a room of its query.
func (s *Server) keepPrivate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		q, err := parseQuery(c.Request())
		if err != nil {
			return err
		}
		room, err := roomOf(q)
		if err != nil {
			return err
		}
		if _, err := s.admit(c, room); err != nil {
			return err
		}
		return next(c)
	}
}

// tokenOf returns the token of a request: what was said for it alone goes before what a
// browser sends with each.
func tokenOf(r *http.Request) string {
	if token := bearer(r); token != "" {
		return token
	}
	if q, err := parseQuery(r); err == nil && q.Get("token") != "" {
		return q.Get("token")
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
func (s *Server) check(token string) (grant, error) {
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.opt.Token))
	if s.opt.Token != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
		return everything(), nil
	}
	wrong := errors.New("the token is not valid; get one that is signed with this server's -key")
	if s.opt.Key == nil || len(token) > maxToken {
		return grant{}, wrong
	}
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return s.opt.Key.material, nil },
		// The key says which algorithms there are, never the token: RFC 8725, section 3.1.
		jwt.WithValidMethods(s.opt.Key.methods), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(time.Now))
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

// mayEmit returns what the bearer token of a POST /emit allows. A cookie is not enough:
// browsers send it from other sites' forms, too.
func (s *Server) mayEmit(c echo.Context) (grant, error) {
	if s.opt.Token == "" && s.opt.Key == nil {
		return grant{}, refuse(http.StatusForbidden, byEmitOff, "emit is off; start the server with -token SECRET to switch it on")
	}
	token := bearer(c.Request())
	if token == "" {
		return grant{}, unauthorized(c, "", "wrong or no token; send the header Authorization: Bearer TOKEN with the server's -token")
	}
	g, err := s.check(token)
	if err != nil && s.opt.Key == nil {
		err = errors.New("wrong or no token; send the header Authorization: Bearer TOKEN with the server's -token")
	}
	if err != nil {
		return grant{}, unauthorized(c, "invalid_token", err.Error())
	}
	return g, nil
}

// emits refuses what the token does not allow.
func (g grant) emits(c echo.Context, e emission) error {
	switch {
	case !anyMatch(g.Emit, *e.Room):
		return forbidden(c, fmt.Sprintf("the token may not emit to the room %q; get one whose headcount.emit names it", *e.Room))
	case g.Events != nil && !anyMatch(g.Events, e.Event):
		return forbidden(c, fmt.Sprintf("the token may not emit %q; get one whose headcount.events names it", e.Event))
	}
	return nil
}

// scope keeps what one token's idempotency keys are answered with from the others: each is
// for one event in one room. The server's own token has no expiry, and its keys are as given.
func (g grant) scope(key string, e emission) string {
	if key == "" || g.until.IsZero() {
		return key
	}
	sum := sha256.Sum256([]byte(*e.Room + "\x00" + e.Event + "\x00" + key))
	return "token-" + hex.EncodeToString(sum[:16])
}

// anyMatch says that one of the patterns is the name. A * stands for any text, also with a
// slash in it or none at all; every other character stands for itself.
func anyMatch(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

func match(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return name == pattern
	}
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(name, part)
		if !found {
			return false
		}
		name = after
	}
	return true
}

// unauthorized is a 401 in the words of RFC 6750, section 3.
func unauthorized(c echo.Context, code, words string) error {
	challenge := `Bearer realm="headcount"`
	if code != "" {
		challenge += `, error="` + code + `"`
	}
	c.Response().Header().Set("WWW-Authenticate", challenge)
	return refuse(http.StatusUnauthorized, byToken, words)
}

// forbidden is a 403 for a good token that does not allow this.
func forbidden(c echo.Context, words string) error {
	c.Response().Header().Set("WWW-Authenticate", `Bearer realm="headcount", error="insufficient_scope"`)
	return refuse(http.StatusForbidden, byToken, words)
}
