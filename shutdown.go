package headcount

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// leastDrain is what a stream has for its last bytes, also where Options.Drain is shorter.
const leastDrain = 500 * time.Millisecond

// Shutdown takes no new streams, ends the open ones over Options.Drain, each told to come back
// after a time of its own, says goodbye to the other nodes, and ends what runs in the
// background. Streams that have not ended by then, or by the end of ctx, are cut, and Shutdown
// returns an error. Afterwards streams are refused and [Server.Emit] returns [ErrUnavailable].
//
// Call it before [http.Server.Shutdown], which waits for streams that it knows of and knows
// nothing of others. It may be called at any time, and more than once.
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
