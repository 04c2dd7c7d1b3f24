package cluster

import (
	"context"
	"sync"
)

// tasks runs functions in the background. Each gets the context of run, which waits for all.
type tasks struct {
	more chan struct{}

	mu   sync.Mutex
	list []func(context.Context)
}

func (t *tasks) add(f func(context.Context)) {
	t.mu.Lock()
	t.list = append(t.list, f)
	t.mu.Unlock()
	select {
	case t.more <- struct{}{}:
	default:
	}
}

func (t *tasks) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.more:
		}
		t.mu.Lock()
		list := t.list
		t.list = nil
		t.mu.Unlock()
		for _, f := range list {
			running.Go(func() { f(ctx) })
		}
	}
}

// slot waits until a request to NATS may start. The caller must call the returned function when the request is done.
func slot(ctx context.Context, slots chan struct{}) (func(), error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
