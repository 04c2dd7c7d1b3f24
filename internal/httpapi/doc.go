// Package httpapi is headcount's HTTP API. It has net/http handlers for streams, counts, renewals, goodbyes and emits.
// A handler parses the request, checks whether it is allowed, calls the engine and writes the response. errors.go turns
// every error into a status and a sentence.
//
// # Usage
//
// [New] returns a [Handler]. It serves events, count, badge.svg, alive, leave and emit below its mount point. The
// sentence of an error is written for the client. Other packages that respond over HTTP return the same errors and let
// [Errors.Write] write them.
//
// # Concurrency
//
// A Handler may be used from any goroutine. A stream over plain HTTP/1.x needs no goroutine. Its connection is taken
// over, and the handler returns.
//
// # Testing
//
// The tests run a whole http.Server over net.Pipe in a testing/synctest bubble.
package httpapi
