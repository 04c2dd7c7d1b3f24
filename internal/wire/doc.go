// Package wire brings the pending bytes of a reader to its socket. There are two
// ways, with the same behaviour, which one conformance suite checks:
//
//   - [Stream] is for everything that net/http can serve (HTTP/2, old TLS, any system):
//     one goroutine a stream, a write deadline for each write.
//   - [Epoll] is for HTTP/1.x on Linux, plain or with TLS 1.3: it takes the descriptor out of
//     net/http, see [Detach], and an idle stream costs no goroutine and no buffer. Where the
//     kernel allows it, io_uring sends to many readers with one system call.
//
// Both call [hub.Sub.Pending] and [hub.Sub.Advance] and nothing else to find out
// what to write; neither ever makes the hub or another reader wait.
package wire

import "time"

// Reason says why a stream ended.
type Reason string

// Reasons.
const (
	Gone    Reason = "gone"    // the reader closed the stream, or its path broke
	Stalled Reason = "stalled" // a write was not done within StallTimeout
	Ended   Reason = "ended"   // End was called
)

// Push is how long after an event that nothing followed a comment goes out behind it,
// to readers that want one: a box that holds each piece back until the next comes
// (Kaspersky's, as reported) then lets the event go.
const Push = 200 * time.Millisecond

// StallTimeout is how long a reader may take for one write of the portable writer,
// and how long the kernel keeps trying to get bytes acknowledged.
const StallTimeout = 20 * time.Second
