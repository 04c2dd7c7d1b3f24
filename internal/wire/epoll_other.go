//go:build !linux

package wire

import (
	"errors"
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

// Uring returns false.
func (*Epoll) Uring() bool { return false }

// Close does nothing.
func (*Epoll) Close() error { return nil }

// Ping does nothing.
func (*Conn) Ping() {}

// End does nothing.
func (*Conn) End(time.Duration) {}
