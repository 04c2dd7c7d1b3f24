package subscribe

import (
	"errors"
	"net/http"

	"headcount/client/remote"
)

// state is what a subscription is doing. The states, events and delays are those of docs/transport.md.
type state string

const (
	connecting state = "connecting" // a stream was asked for, and no event has come
	streaming  state = "streaming"  // a stream delivers events
	asking     state = "asking"     // a poll was sent, and none has worked since the last stream
	polling    state = "polling"    // polls work
	checking   state = "checking"   // the last poll failed, and the ones before it worked
)

// polls reports whether the next request of a state is a poll.
func (s state) polls() bool { return s == asking || s == polling || s == checking }

// event is what can happen in a state.
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

// pause is how long to wait before the request of the next state.
type pause string

const (
	none    pause = "none"
	soon    pause = "soon"
	backOff pause = "back-off"
)

// next is the whole machine.
func next(s state, e event) (state, pause) {
	switch {
	case s == connecting && e == arrived:
		return streaming, none
	case s == connecting && (e == silent || e == ended || e == blocked), s == streaming && e == unanswered:
		return asking, none
	case s == streaming && e == silent:
		// Something may let the first words of a stream pass, and no more. The next stream has to prove more: see trial.
		return asking, backOff
	case s.polls() && e == answered:
		return polling, soon
	case s == polling && e == proved:
		return connecting, none
	case s == polling && e == refused, s == checking:
		return polling, backOff
	case s == polling:
		// Something may cut what takes long. The next poll is answered at once, if the server is there.
		return checking, soon
	}
	return connecting, backOff
}

// eventOf says what the end of an attempt is in a state. Heard reports whether an event came, unheard whether the server
// waited in vain for the answer to a ping.
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
	return broken // also where the request itself could not be sent in time
}
