//go:build !linux

package wire

import (
	"errors"
	"iter"
	"net"
	"time"

	"headcount/internal/hub"
)

// Epoll is for Linux only; elsewhere [Stream] serves everybody.
type Epoll struct{}

// Conn is for Linux only.
type Conn struct{}

// Owner is told when a stream has ended.
type Owner interface{ Done(Reason) }

// NewEpoll returns [errors.ErrUnsupported].
func NewEpoll(time.Duration, bool) (*Epoll, error) { return nil, errors.ErrUnsupported }

// Dup returns [errors.ErrUnsupported].
func Dup(*net.TCPConn) (int, error) { return -1, errors.ErrUnsupported }

// Discard does nothing.
func Discard(int) {}

// Take is never called, for there is no Epoll.
func (*Epoll) Take(int, *hub.Sub, bool, Owner) *Conn { panic("wire: no epoll on this system") }

// Freeze does nothing.
func (*Epoll) Freeze() {}

// Thaw does nothing.
func (*Epoll) Thaw() {}

// Streams returns none.
func (*Epoll) Streams() iter.Seq[*Conn] { return func(func(*Conn) bool) {} }

// Resume is never called, for there is no Epoll.
func (*Epoll) Resume(int, *hub.Room, ConnState, Owner) *Conn { panic("wire: no epoll on this system") }

// Owner is never called, for there is no Conn.
func (*Conn) Owner() Owner { return nil }

// FD is never called, for there is no Conn.
func (*Conn) FD() int { return -1 }

// Export is never called, for there is no Conn.
func (*Conn) Export() ConnState { return ConnState{} }

// Uring returns false.
func (*Epoll) Uring() bool { return false }

// Close does nothing.
func (*Epoll) Close() error { return nil }

// Ping does nothing.
func (*Conn) Ping() {}

// End does nothing.
func (*Conn) End(time.Duration) {}
