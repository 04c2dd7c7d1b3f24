package wire

import (
	"time"

	"headcount/internal/hub"
)

// ConnState is a stream as plain data, for [Epoll.Resume] in the successor process, which continues with its
// descriptor.
type ConnState struct {
	Sub    hub.SubState
	Push   bool
	Due    bool          // a comment must follow its last event,
	Last   time.Duration // which is that old
	Silent time.Duration // since its last heartbeat or write
	Ping   bool          // Ping was called
	End    bool          // End was called, with Retry
	Retry  time.Duration
	TLS    []byte // keys and the rest of a record, secret; nil if it is plain
}
