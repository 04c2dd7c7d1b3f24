package engine

import (
	"context"
	"math/rand/v2"
	"time"
)

// Drain takes no new streams and ends the open ones: in random order and over
// Options.Drain, but no slower than drainRate a second, each told to come back after a
// time of its own. It returns when all have ended or ctx is done, at once if it was called
// before.
func (e *Engine) Drain(ctx context.Context) error {
	open, first := e.streams.drain()
	if first {
		e.endAll(ctx, open)
	}
	select {
	case <-e.streams.idle:
		return nil
	default:
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.streams.idle:
		return nil
	}
}

func (e *Engine) endAll(ctx context.Context, open []*Stream) {
	// The registry has them in no order, but not in a random one either.
	rand.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	// The last tenth of the time is for what the readers are slow to take.
	step := min(e.opt.Drain*9/10/time.Duration(max(len(open), 1)), time.Second/drainRate)
	begin := time.Now()
	for i, st := range open {
		if wait := time.Until(begin.Add(time.Duration(i) * step)); wait > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		st.End(Retry())
	}
}
