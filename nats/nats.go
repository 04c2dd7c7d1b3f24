// Package nats makes several processes one headcount, by way of NATS with JetStream: an event
// that one of them emits reaches the clients of all, and the user count is that of all.
//
//	backend, err := nats.New(nats.Options{Servers: "nats://127.0.0.1:4222"})
//	live, err := headcount.New(headcount.Options{Backend: backend})
//
// While NATS is away streams stay and the local count is right; emits are refused, and Stats
// says why. Nothing has to be restarted when it is back.
package nats

import (
	"headcount"
	"headcount/internal/cluster"
)

// Options of a backend.
type Options = cluster.Options

// New returns a backend for one [headcount.Server]. It connects in the background: an error
// means that the options are wrong. Its connection ends with [headcount.Server.Shutdown].
func New(opt Options) (headcount.Backend, error) {
	return cluster.New(opt)
}
