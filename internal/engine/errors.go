package engine

import (
	"errors"
	"fmt"
)

// Code is why something was refused, for metrics: one of these, so that no stranger makes more.
type Code string

// Codes of what the engine refuses.
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

// What a [Refusal] is, for errors.Is.
var (
	ErrUnavailable    = errors.New("unavailable; try again later")
	ErrTooManyStreams = errors.New("too many streams; close one or try again later")
	ErrTooLarge       = errors.New("event is too large; send less")
)

// Refusal is an error that says in one sentence what whoever asked can do.
type Refusal struct {
	Code     Code
	Sentence string
	Err      error // one of the errors above
}

func (r *Refusal) Error() string { return r.Sentence }

// Unwrap is for errors.Is.
func (r *Refusal) Unwrap() error { return r.Err }

func unavailable(code Code, format string, args ...any) error {
	return &Refusal{code, fmt.Sprintf(format, args...), ErrUnavailable}
}

func tooMany(code Code, sentence string) error { return &Refusal{code, sentence, ErrTooManyStreams} }

func stopping() error {
	return unavailable(Stopping, "this server is stopping; try again in a few seconds")
}

func tooFast() error {
	return tooMany(MaxRate, "too many new streams from your address; try again in a few seconds")
}
