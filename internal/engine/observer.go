package engine

import (
	"time"

	"headcount/internal/wire"
)

// Transport is how a subscriber gets its events.
type Transport string

// Values of Transport.
const (
	ByEpoll    Transport = "epoll"     // the connection was taken over; no goroutine while idle
	ByEpollTLS Transport = "epoll_tls" // the connection and its TLS keys were taken over
	ByStream   Transport = "stream"    // through net/http, or the portable writer
	ByPoll     Transport = "poll"      // one response that ends
)

// Transports returns all transports.
func Transports() []Transport { return []Transport{ByEpoll, ByEpollTLS, ByStream, ByPoll} }

// Reason is why a stream ended.
type Reason = wire.Reason

// Answered is the reason of a poll that ended well. Package wire has the other reasons.
const Answered Reason = "answered"

// Observer gets measurements for metrics. Its methods are called from any goroutine and must return at once.
type Observer interface {
	StreamObserver
	EventObserver
	// Counted is called when the user count of a room may have changed.
	Counted(room string, users int)
	// Refused is called when a request was answered with an error status.
	Refused(reason string, status int)
}

// StreamObserver observes streams.
type StreamObserver interface {
	Opened(Transport)   // a stream or a poll was admitted
	Ended(Reason)       // a stream or a poll has ended
	Kept(reason string) // a stream stays with the portable writer; reason is a wire.Obstacle
}

// EventObserver observes events.
type EventObserver interface {
	Emitted()                     // an event was accepted
	Stored(took time.Duration)    // the backend took that long to store or refuse an event
	Delivered(took time.Duration) // a delivery to all subscribers of a room took that long, from the event to the last write
}

// Unobserved is an Observer that ignores everything. Embed it to implement a part of Observer.
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
