// Package nats connects several processes to one headcount through NATS with JetStream. An event that one process emits
// reaches the clients of all processes, and the user count is that of all processes.
//
//	backend, err := nats.New(nats.Options{Servers: "nats://127.0.0.1:4222"})
//	live, err := headcount.New(headcount.Options{Backend: backend})
//
// While NATS is away, streams stay open and the local count is right. Emits are refused, and Stats says why. Nothing
// has to be restarted when NATS is back.
package nats

import (
	"headcount"
	"headcount/internal/cluster"
)

// Options are the options of a backend.
type Options = cluster.Options

// OptionError is the error of [New] if an option cannot be used. It names the option and the reason.
type OptionError = cluster.OptionError

// New returns a backend for one [headcount.Server]. It connects in the background. An error means that the options are
// wrong. [headcount.Server.Shutdown] closes its connection.
func New(opt Options) (headcount.Backend, error) {
	return cluster.New(opt)
}
