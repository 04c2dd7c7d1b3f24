package auth

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Policy decides which requests may read a room and which may emit to it. The count and the events of a private room
// need a token that lists the room. Every other room, such as lobby, is open to everybody.
type Policy struct {
	Token   string   // allows everything; "" = none
	Key     *Key     // verifies signed tokens; nil = no signed tokens
	Private []string // patterns of rooms that need a token; * matches any text
	Origins Origins  // pages of these origins may use the token's cookie, but "*" does not allow it
}

// Error refuses a request, as RFC 6750, section 3 describes.
type Error struct {
	Status    int    // 401 or 403
	Reason    string // for metrics
	Challenge string // WWW-Authenticate, "" = none
	Sentence  string
}

func (e *Error) Error() string { return e.Sentence }

const challenge = `Bearer realm="headcount"`

// unauthorized refuses a request without a token, or with a bad token if code is set.
func unauthorized(code, sentence string) error {
	e := &Error{http.StatusUnauthorized, "token", challenge, sentence}
	if code != "" {
		e.Challenge += `, error="` + code + `"`
	}
	return e
}

// forbidden refuses a request whose valid token does not allow it.
func forbidden(format string, args ...any) error {
	return &Error{http.StatusForbidden, "token", challenge + `, error="insufficient_scope"`, fmt.Sprintf(format, args...)}
}

// Authorize refuses a request that may not read the room or, if event is set, may not emit it there. until is the end
// of the permission, zero = never.
func (p *Policy) Authorize(r *http.Request, room, event string) (until time.Time, err error) {
	if event != "" {
		return p.mayEmit(r, room, event)
	}
	if !anyMatch(p.Private, room) {
		return time.Time{}, nil
	}
	token := p.tokenOf(r)
	if token == "" {
		return time.Time{}, unauthorized("", fmt.Sprintf("room %q is private; send a token that names it, as Authorization: Bearer TOKEN, ?token=TOKEN or the cookie %s", room, tokenCookie))
	}
	g, err := p.check(token)
	if err != nil {
		return time.Time{}, unauthorized("invalid_token", err.Error())
	}
	if !anyMatch(g.Subscribe, room) {
		return time.Time{}, forbidden("the token does not allow the room %q; its headcount.subscribe must list it", room)
	}
	return g.until, nil
}

// Authenticate refuses a request to emit without a valid token before its body is read.
func (p *Policy) Authenticate(r *http.Request) error {
	_, err := p.emitter(r)
	return err
}

func (p *Policy) mayEmit(r *http.Request, room, event string) (time.Time, error) {
	g, err := p.emitter(r)
	switch {
	case err != nil:
		return time.Time{}, err
	case !anyMatch(g.Emit, room):
		return time.Time{}, forbidden("the token does not allow emitting to the room %q; its headcount.emit must list it", room)
	case g.Events != nil && !anyMatch(g.Events, event):
		return time.Time{}, forbidden("the token does not allow the event %q; its headcount.events must list it", event)
	}
	return g.until, nil
}

// emitter returns what the bearer token of a request to emit allows. A cookie is not enough, because browsers send it
// with the forms of other sites too.
func (p *Policy) emitter(r *http.Request) (grant, error) {
	if p.Token == "" && p.Key == nil {
		return grant{}, &Error{http.StatusForbidden, "emit_off", "", "emit is off; start the server with -token SECRET to switch it on"}
	}
	const none = "missing or wrong token; send the token of this server in the header Authorization: Bearer TOKEN"
	token := bearer(r)
	if token == "" {
		return grant{}, unauthorized("", none)
	}
	g, err := p.check(token)
	if err != nil && p.Key == nil {
		err = errors.New(none)
	}
	if err != nil {
		return grant{}, unauthorized("invalid_token", err.Error())
	}
	return g, nil
}
