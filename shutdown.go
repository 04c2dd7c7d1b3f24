package headcount

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// leastDrain is how long a stream has for its last bytes, even if Options.Drain is shorter.
const leastDrain = 500 * time.Millisecond

// Shutdown refuses new streams and ends the open ones over Options.Drain. It tells each client to reconnect after its
// own random time. Then it says goodbye to the other nodes and ends the background work. It cuts streams that have not
// ended by then, or by the end of ctx, and returns an error. Afterwards streams are refused and [Server.Emit] returns
// [ErrUnavailable].
//
// Call it before [http.Server.Shutdown], which waits for streams that it knows and does not know the others. It may be
// called at any time, and more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	drain, cancel := context.WithTimeout(ctx, max(s.drain, leastDrain))
	defer cancel()
	var err error
	if s.engine.Drain(drain) != nil {
		err = fmt.Errorf("headcount: shut down: %d streams were cut", s.engine.Streams())
	}
	s.once.Do(func() { close(s.stopped) })
	s.engine.Shut()
	s.stop()
	ended := make(chan struct{})
	go func() { defer close(ended); s.running.Wait() }()
	select {
	case <-ended:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("headcount: shut down: %w", ctx.Err()))
	}
	return errors.Join(err, s.engine.Close())
}
