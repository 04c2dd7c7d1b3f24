//go:build !linux

package wire

import (
	"errors"
	"iter"
	"net"
	"time"

	"headcount/internal/hub"
)

// Epoll is for Linux only. Elsewhere [Stream] writes all streams.
type Epoll struct{}

// Conn is for Linux only.
type Conn struct{}

// Owner is the whole of a stream.
type Owner interface {
	Conn() *Conn
	Done(Reason)
}

// NewEpoll returns [errors.ErrUnsupported].
func NewEpoll(time.Duration, bool) (*Epoll, error) { return nil, errors.ErrUnsupported }

// Socket is for Linux only.
type Socket struct{}

// FD returns no descriptor.
func (Socket) FD() int { return -1 }

// TLS returns false.
func (Socket) TLS() bool { return false }

// Close does nothing.
func (Socket) Close() {}

// Detach returns [errors.ErrUnsupported].
func Detach(net.Conn, *hub.Sub) (Socket, error) {
	return Socket{}, &NotDetached{OtherListener, errors.ErrUnsupported}
}

// Take is never called, because there is no Epoll.
func (*Epoll) Take(Socket, *hub.Sub, bool, Owner) *Conn { panic("wire: no epoll on this system") }

// Freeze does nothing.
func (*Epoll) Freeze() {}

// Thaw does nothing.
func (*Epoll) Thaw() {}

// Streams returns none.
func (*Epoll) Streams() iter.Seq[*Conn] { return func(func(*Conn) bool) {} }

// Resume is never called, because there is no Epoll.
func (*Epoll) Resume(int, *hub.Room, ConnState, Owner) (*Conn, error) {
	panic("wire: no epoll on this system")
}

// Owner is never called, because there is no Conn.
func (*Conn) Owner() Owner { return nil }

// FD is never called, because there is no Conn.
func (*Conn) FD() int { return -1 }

// Export is never called, because there is no Conn.
func (*Conn) Export() ConnState { return ConnState{} }

// Uring returns false.
func (*Epoll) Uring() bool { return false }

// Close does nothing.
func (*Epoll) Close() error { return nil }

// Ping does nothing.
func (*Conn) Ping() {}

// End does nothing.
func (*Conn) End(time.Duration) {}
