// Package wire writes the pending bytes of a subscriber to its socket. It has two writers with the same behaviour. One
// conformance suite checks both.
//
//   - [Stream] is for everything that net/http can serve (HTTP/2, old TLS, any system).
//     It needs one goroutine per stream, and sets a write deadline for each write.
//   - [Epoll] is for HTTP/1.x on Linux, plain or with TLS 1.3. It takes the descriptor out of
//     net/http, see [Detach], and an idle stream costs no goroutine and no buffer. Where the
//     kernel allows it, io_uring sends to many clients with one system call.
//
// Both call [hub.Sub.Pending] and [hub.Sub.Advance] and nothing else to find out what to write. Neither ever makes the
// hub or another subscriber wait.
package wire

import "time"

// Reason is why a stream ended.
type Reason string

// Reasons.
const (
	Gone    Reason = "gone"    // the client closed the stream, or its path broke
	Stalled Reason = "stalled" // a write did not finish within StallTimeout
	Ended   Reason = "ended"   // End was called
)

// Push is how long the writer waits after an event that nothing followed before it sends a comment, to clients that
// want one. Some boxes hold each piece back until the next one comes (Kaspersky's, as reported). The comment makes such
// a box release the event.
const Push = 200 * time.Millisecond

// StallTimeout is how long a client may take for one write of the portable writer, and how long the kernel keeps trying
// to get bytes acknowledged.
const StallTimeout = 20 * time.Second
