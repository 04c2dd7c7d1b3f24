package engine

import (
	"errors"
	"fmt"
)

// Code is the reason of a refusal, for metrics. The set of codes is fixed, so strangers cannot add any.
type Code string

// Codes of the engine's refusals.
const (
	MaxStreams Code = "max_streams"
	MaxPerIP   Code = "max_streams_per_ip"
	MaxRate    Code = "max_stream_rate"
	MaxLeases  Code = "max_leases"
	OpenFiles  Code = "open_files"
	Stopping   Code = "stopping"
	Cluster    Code = "cluster"
	TooLarge   Code = "body_too_large"
)

// Errors that a [Refusal] wraps.
var (
	ErrUnavailable    = errors.New("unavailable; try again later")
	ErrTooManyStreams = errors.New("too many streams; close one or try again later")
	ErrTooLarge       = errors.New("event is too large; send less")
)

// ErrMoved is the error for work that arrives after [Engine.Release]. The other process can do it.
var ErrMoved = fmt.Errorf("%w: another process has taken over", ErrUnavailable)

// Refusal is an error whose one sentence says what the client can do.
type Refusal struct {
	Code     Code
	Sentence string
	Err      error // one of the errors above
}

func (r *Refusal) Error() string { return r.Sentence }

// Unwrap makes errors.Is find Err.
func (r *Refusal) Unwrap() error { return r.Err }

func unavailable(code Code, format string, args ...any) error {
	return &Refusal{code, fmt.Sprintf(format, args...), ErrUnavailable}
}

func tooMany(code Code, sentence string) error { return &Refusal{code, sentence, ErrTooManyStreams} }

func moved() error {
	return &Refusal{Stopping, "this server has handed over to another process; try again", ErrMoved}
}

// ErrStopping is the error for work that arrives while the server stops.
var ErrStopping = unavailable(Stopping, "this server is stopping; try again in a few seconds")

func tooFast() error {
	return tooMany(MaxRate, "too many new streams from your address; try again in a few seconds")
}
