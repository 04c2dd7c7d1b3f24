package subscribe

import (
	"errors"
	"net/http"

	"headcount/client/remote"
)

// state is the state of a subscription. docs/transport.md describes the states, events and delays.
type state string

const (
	connecting state = "connecting" // a stream was requested, and no event has come
	streaming  state = "streaming"  // a stream delivers events
	asking     state = "asking"     // a poll was sent, and none has worked since the last stream
	polling    state = "polling"    // polls work
	checking   state = "checking"   // the last poll failed, but earlier ones worked
)

// polls reports whether the next request of a state is a poll.
func (s state) polls() bool { return s == asking || s == polling || s == checking }

// event is an event of the state machine.
type event string

const (
	arrived     event = "event"
	answered    event = "answered"
	ended       event = "ended"
	unanswered  event = "unanswered"
	silent      event = "silent"
	broken      event = "broken"
	blocked     event = "blocked"
	unavailable event = "unavailable"
	refused     event = "refused"
	proved      event = "trial"
)

// pause is the kind of delay before the request of the next state.
type pause string

const (
	none    pause = "none"
	soon    pause = "soon"
	backOff pause = "back-off"
)

// next is the whole state machine.
func next(s state, e event) (state, pause) {
	switch {
	case s == connecting && e == arrived:
		return streaming, none
	case s == connecting && (e == silent || e == ended || e == blocked), s == streaming && e == unanswered:
		return asking, none
	case s == streaming && e == silent:
		// A middlebox may let only the first bytes of a stream pass. The next stream has to prove more, see trial.
		return asking, backOff
	case s.polls() && e == answered:
		return polling, soon
	case s == polling && e == proved:
		return connecting, none
	case s == polling && e == refused, s == checking:
		return polling, backOff
	case s == polling:
		// A middlebox may cut long requests. The next poll is answered at once if the server is there.
		return checking, soon
	}
	return connecting, backOff
}

// eventOf returns the event for the end of an attempt. heard reports whether an event came. unheard reports whether the
// answer to a ping did not reach the server.
func eventOf(s state, heard, unheard bool, err error) event {
	var refusal *remote.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Own:
		return refused
	case errors.As(err, &refusal) && (refusal.Status >= 500 || refusal.Status == http.StatusTooManyRequests):
		return unavailable
	case errors.As(err, &refusal):
		return blocked
	case errors.Is(err, remote.ErrEnded) && heard && s.polls():
		return answered
	case errors.Is(err, remote.ErrEnded) && heard && unheard:
		return unanswered
	case errors.Is(err, remote.ErrEnded):
		return ended
	case errors.Is(err, remote.ErrHeld), errors.Is(err, remote.ErrSilent) && s != connecting:
		return silent
	}
	return broken // also if the request could not be sent in time
}
