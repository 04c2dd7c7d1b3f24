package cluster

import (
	"context"
	"slices"
	"sync"
)

// queue holds what one goroutine takes and any others add. Make one with newQueue.
type queue[T any] struct {
	more chan struct{} // signals that it is not empty

	mu     sync.Mutex
	list   []T
	pruned int // elements that prune has left
}

func newQueue[T any]() *queue[T] { return &queue[T]{more: make(chan struct{}, 1)} }

func (q *queue[T]) add(list ...T) {
	q.mu.Lock()
	q.list = append(q.list, list...)
	q.mu.Unlock()
	signal(q.more)
}

// take returns all elements in order and removes them.
func (q *queue[T]) take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list, q.pruned = nil, 0
	return list
}

// prune removes some elements if there are as many as most, and reports whether it removed any. It does nothing until that
// many were added since the last time.
func (q *queue[T]) prune(most int, remove func(T) bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := len(q.list)
	if before < most+q.pruned {
		return false
	}
	q.list = slices.DeleteFunc(q.list, remove)
	q.pruned = len(q.list)
	return q.pruned < before
}

// wait waits for elements and takes them.
func (q *queue[T]) wait(ctx context.Context) ([]T, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-q.more:
		return q.take(), nil
	}
}

// signal signals something to the receiver of a channel with a capacity of one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has been signalled already
	}
}
