package auth

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Policy decides which requests may read a room and which may emit to it. The count and the
// events of a private room need a token that lists the room. Every other room, such as lobby,
// is open to all.
type Policy struct {
	Token   string   // what allows everything; "" = none
	Key     *Key     // of signed tokens; nil = there are none
	Private []string // patterns of rooms that need a token; * = any text
	Origins Origins  // whose pages may use the cookie of the token, if they are named
}

// Error refuses a request, in the words of RFC 6750, section 3.
type Error struct {
	Status    int    // 401 or 403
	Reason    string // for metrics
	Challenge string // WWW-Authenticate, "" = none
	Sentence  string
}

func (e *Error) Error() string { return e.Sentence }

const challenge = `Bearer realm="headcount"`

// unauthorized is for no token, or with code for a bad one.
func unauthorized(code, sentence string) error {
	e := &Error{http.StatusUnauthorized, "token", challenge, sentence}
	if code != "" {
		e.Challenge += `, error="` + code + `"`
	}
	return e
}

// forbidden is for a good token that does not allow this.
func forbidden(format string, args ...any) error {
	return &Error{http.StatusForbidden, "token", challenge + `, error="insufficient_scope"`, fmt.Sprintf(format, args...)}
}

// Authorize refuses a request that may not know of the room or, with an event, not emit it
// there. until is when the permission ends, zero = never.
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

// Authenticate refuses a request to emit that has no valid token, before its body is read.
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

// emitter returns what the bearer token of a request to emit allows. A cookie is not enough:
// browsers send it from other sites' forms, too.
func (p *Policy) emitter(r *http.Request) (grant, error) {
	if p.Token == "" && p.Key == nil {
		return grant{}, &Error{http.StatusForbidden, "emit_off", "", "emit is off; start the server with -token SECRET to switch it on"}
	}
	const none = "missing or wrong token; send the header Authorization: Bearer TOKEN with the server's -token"
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
