package engine

import (
	"context"
	"math/rand/v2"
	"time"
)

// Drain refuses new streams and ends the open ones in random order over Options.Drain, but at least drainRate a second.
// It tells each client to reconnect after its own random time. It returns when all streams have ended or ctx is done. A
// second call returns at once.
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
	// The order of the registry is not random.
	rand.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	// The last tenth of the time is for slow clients.
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
