// Package httpapi is headcount over HTTP: handlers of net/http for the stream, the count, the
// renewals, goodbyes and emits. A handler parses the request, asks whether it is allowed, calls
// the engine, and writes the answer; errors.go turns every error into a status and a sentence.
//
// # Usage
//
// [New] returns a [Handler]. It serves events, count, badge.svg, alive, leave and emit below
// the place where it is mounted. What it says of an error is for whoever made the request;
// other packages that answer HTTP return the same errors and leave them to [Errors.Write].
//
// # Concurrency
//
// A Handler may be used by any goroutine. A stream over plain HTTP/1.x holds none: its
// connection is taken over, and the handler returns.
//
// # Testing
//
// The tests run a whole http.Server over net.Pipe in a testing/synctest bubble.
package httpapi
