package engine

import (
	"context"
	"sync"
)

// freezer admits work except while the engine is frozen. After the release it admits none. Admitted work must not enter
// again.
type freezer struct {
	mu       sync.RWMutex
	frozen   bool // mu is held until thaw or release
	released bool // guarded by mu
}

// enter waits while the engine is frozen. It returns false if another process has taken over.
func (f *freezer) enter() bool {
	f.mu.RLock()
	if f.released {
		f.mu.RUnlock()
		return false
	}
	return true
}

func (f *freezer) leave() { f.mu.RUnlock() }

func (f *freezer) freeze() {
	f.mu.Lock()
	f.frozen = true
}

func (f *freezer) thaw() {
	f.frozen = false
	f.mu.Unlock()
}

func (f *freezer) release() {
	f.released = true
	f.thaw()
}

// Thaw resumes the engine after [Engine.Freeze], or starts it from the snapshot in Options.Resume. It does nothing to
// an engine that is not frozen.
func (e *Engine) Thaw() {
	if !e.freezer.frozen {
		return
	}
	e.begin()
	e.freezer.thaw()
	if e.alone { // otherwise the count waits for the sets of the other nodes
		for _, room := range e.users.Rooms() {
			e.recount(room.Name)
		}
	}
	if e.epoll != nil {
		e.epoll.Thaw()
	}
}

// Release forgets the streams of a frozen engine that another process has taken over. It ends the other streams and
// tells their clients to reconnect at once. It returns when they have ended or ctx is done.
func (e *Engine) Release(ctx context.Context) error {
	if e.epoll != nil {
		for c := range e.epoll.Streams() {
			if st, ok := c.Owner().(*Stream); ok {
				e.streams.release(st)
			}
		}
		if err := e.epoll.Close(); err != nil { // the other process has a copy of each descriptor
			return err
		}
	}
	e.node.Release()
	left, _ := e.streams.drain()
	e.freezer.release()
	for _, st := range left {
		st.endFor(soon(), st.returnTime())
	}
	select {
	case <-e.streams.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
