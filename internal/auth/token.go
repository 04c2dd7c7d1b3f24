package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// leeway is how much two clocks may differ. A token stays valid for that much longer.
const leeway = 5 * time.Second

// maxToken is the longest token that is verified, in bytes. A request header cannot be much longer.
const maxToken = 8 << 10

// tokenCookie is the cookie that may hold a token.
const tokenCookie = "headcount_token"

// tokenHeader may hold a token if a proxy asks for a password, because the password uses Authorization.
const tokenHeader = "Headcount-Token"

// grant is what a token allows, as patterns of rooms and events.
type grant struct {
	Subscribe []string
	Emit      []string
	Events    []string // events that it may emit; nil = any

	until time.Time // end of the permission; zero = never
}

// grantOf reads the claim "headcount". The claim has its own name, as in Mercure, because other services may read the
// same token. An invalid claim grants nothing, because a misspelt or empty "events" would otherwise allow all events.
func grantOf(claim any) (grant, error) {
	var g grant
	fields, ok := claim.(map[string]any)
	if !ok && claim != nil {
		return g, errors.New("the token's headcount claim is not valid; it must be an object with subscribe, emit and events")
	}
	known := map[string]*[]string{"subscribe": &g.Subscribe, "emit": &g.Emit, "events": &g.Events}
	for name, value := range fields {
		to, list := known[name], []string{}
		values, ok := value.([]any)
		for _, one := range values {
			text, isText := one.(string)
			list, ok = append(list, text), ok && isText
		}
		if to == nil || !ok {
			return grant{}, fmt.Errorf("%.40q in the token's headcount claim is not valid; use subscribe, emit and events, each a list of strings", name)
		}
		*to = list
	}
	return g, nil
}

// everything is the grant of the server's own -token.
func everything() grant { return grant{Subscribe: []string{"*"}, Emit: []string{"*"}} }

// tokenOf returns the token of a request. A token that was sent for this request takes precedence over one that the
// browser sends with every request. The cookie is valid for pages of this site and of named origins, but not for pages
// that only "*" allows.
func (p *Policy) tokenOf(r *http.Request) string {
	if token := bearer(r); token != "" {
		return token
	}
	// Read the query as browsers do. A semicolon is an ordinary character. Malformed parts are skipped.
	q, _ := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"))
	if token := q.Get("token"); token != "" {
		return token
	}
	if cookie, err := r.Cookie(tokenCookie); err == nil && p.Origins.known(r) {
		return cookie.Value
	}
	return ""
}

// bearer returns the token of a header, or "".
func bearer(r *http.Request) string {
	if token := r.Header.Get(tokenHeader); token != "" {
		return strings.TrimSpace(token)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	// "the scheme is case-insensitive": RFC 9110, section 11.1.
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// check returns what a token allows, or an error whose sentence says why the token is invalid. The time that it takes
// reveals nothing about the server's own token.
func (p *Policy) check(token string) (grant, error) {
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(p.Token))
	if p.Token != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
		return everything(), nil
	}
	wrong := errors.New("the token is not valid; get one that is signed with the key of this server")
	if p.Key == nil || len(token) > maxToken {
		return grant{}, wrong
	}
	said := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, said, p.keyOf,
		// The key determines the algorithms, never the token: RFC 8725, section 3.1.
		jwt.WithValidMethods(p.Key.methods), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(time.Now))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return grant{}, errors.New("the token has expired; get a new one")
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return grant{}, errors.New("the token is not valid yet; check its nbf and the clocks")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return grant{}, errors.New("the token has no exp; get one that expires")
	case err != nil:
		return grant{}, wrong // a stranger need not know which part is wrong
	}
	g, err := grantOf(said["headcount"])
	if end, _ := said.GetExpirationTime(); end != nil { // it is always there, see above
		g.until = end.Add(leeway)
	}
	return g, err
}

// keyOf returns the key for a token. "If any of the listed extension Header Parameters are not understood and supported
// by the recipient, then the JWS is invalid", RFC 7515, section 4.1.11. This server understands none.
func (p *Policy) keyOf(token *jwt.Token) (any, error) {
	if _, ok := token.Header["crit"]; ok {
		return nil, errors.New("crit is not supported")
	}
	return p.Key.material, nil
}
