package subscribe

import (
	"context"
	"time"
)

const (
	aliveTime = 5 * time.Second        // for one POST /alive; the next ping asks again
	leaveTime = 500 * time.Millisecond // for the goodbye: nobody wants to wait for it after ctrl-C
)

// lease keeps the client counted over one connection, where the server asks for it.
type lease struct {
	s      *subscription
	needed bool          // what the server said in its hello; only the goroutine that reads events touches it
	wanted chan struct{} // holds one wish: pings that come while an answer is on its way need no second one
}

// ask wants an answer to be sent, without waiting for it: reading must go on meanwhile.
func (l *lease) ask() {
	if !l.needed {
		return
	}
	select {
	case l.wanted <- struct{}{}:
	default:
	}
}

// renew answers until ctx ends. An answer that is lost is not sent again: the server asks again.
func (l *lease) renew(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wanted:
			ctx, cancel := context.WithTimeout(ctx, aliveTime)
			l.s.unheard = l.s.post(ctx, "alive") != nil
			cancel()
		}
	}
}

// leave says goodbye, so that others see at once that this client has gone. It is sent after the end of ctx, once, and
// may be lost: then the server waits its linger time.
func (s *subscription) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	_ = s.post(ctx, "leave")
}

// post sends the room and the client id to one of the server's paths.
func (s *subscription) post(ctx context.Context, path string) error {
	return s.Server.PostUsers(ctx, path, s.Room, s.ID)
}
