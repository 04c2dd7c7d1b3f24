package engine

import (
	"time"

	"headcount/internal/wire"
)

// Transport is how a subscriber gets its events.
type Transport string

// Transports.
const (
	ByEpoll    Transport = "epoll"     // the connection was taken over: no goroutine while idle
	ByEpollTLS Transport = "epoll_tls" // and so were its keys
	ByStream   Transport = "stream"    // through net/http, or the portable writer
	ByPoll     Transport = "poll"      // one answer with an end
)

// Transports are all that there are.
func Transports() []Transport { return []Transport{ByEpoll, ByEpollTLS, ByStream, ByPoll} }

// Reason is why a stream ended.
type Reason = wire.Reason

// Answered is why a poll ends, if all is well. The other reasons are those of package wire.
const Answered Reason = "answered"

// Observer is told what happens, for metrics. Its methods are called from any goroutine and
// must return at once.
type Observer interface {
	StreamObserver
	EventObserver
	// Counted is called when the user count of a room may have changed.
	Counted(room string, users int)
	// Refused is called when a request was answered with an error status.
	Refused(reason string, status int)
}

// StreamObserver is told of streams.
type StreamObserver interface {
	Opened(Transport)   // a stream or a poll was let in
	Ended(Reason)       // it ended
	Kept(reason string) // a stream is left to the portable writer, and why: a wire.Obstacle
}

// EventObserver is told of events.
type EventObserver interface {
	Emitted()                     // an event was accepted
	Stored(took time.Duration)    // the backend took that long to store an event, or to refuse it
	Delivered(took time.Duration) // a pass over the readers of a room took that long, from the news to the last write
}

// Unobserved is an Observer that ignores everything. Embed it to implement a part.
type Unobserved struct{}

// Opened does nothing.
func (Unobserved) Opened(Transport) {}

// Ended does nothing.
func (Unobserved) Ended(Reason) {}

// Kept does nothing.
func (Unobserved) Kept(string) {}

// Emitted does nothing.
func (Unobserved) Emitted() {}

// Stored does nothing.
func (Unobserved) Stored(time.Duration) {}

// Delivered does nothing.
func (Unobserved) Delivered(time.Duration) {}

// Counted does nothing.
func (Unobserved) Counted(string, int) {}

// Refused does nothing.
func (Unobserved) Refused(string, int) {}
