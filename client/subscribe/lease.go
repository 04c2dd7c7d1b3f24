package subscribe

import (
	"context"
	"time"
)

const (
	aliveTime = 5 * time.Second        // for one POST /alive; the next ping asks again
	leaveTime = 500 * time.Millisecond // for the goodbye, because nobody wants to wait for it after ctrl-C
)

// lease keeps the client counted over one connection if the server asks for answers.
type lease struct {
	s      *subscription
	needed bool          // from the server's hello; only the goroutine that reads events uses it
	wanted chan struct{} // buffers one request; pings that come during an answer need no second one
}

// ask requests an answer without waiting for it, because reading must continue.
func (l *lease) ask() {
	if !l.needed {
		return
	}
	select {
	case l.wanted <- struct{}{}:
	default:
	}
}

// renew sends the answers until ctx ends. It does not repeat a lost answer, because the server asks again.
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

// leave says goodbye, so that the count drops at once. It is sent once, after the end of ctx, and may be lost. Then the
// server waits for the grace period.
func (s *subscription) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	_ = s.post(ctx, "leave")
}

// post sends the room and the client id to one of the server's paths.
func (s *subscription) post(ctx context.Context, path string) error {
	return s.Server.PostUsers(ctx, path, s.Room, s.ID)
}
