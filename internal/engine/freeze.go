package engine

import (
	"context"
	"sync"
	"time"
)

// freezer admits work except while the engine is frozen. After the release it admits none. Admitted work must not enter
// again.
type freezer struct {
	mu       sync.Mutex
	inside   int           // admitted work
	shut     chan struct{} // closed when work is admitted again; nil while it is
	empty    chan struct{} // closed when nobody is inside; nil unless freeze waits
	frozen   bool
	released bool
}

// enter waits while the engine is frozen. It returns false if another process has taken over.
func (f *freezer) enter() bool {
	for {
		f.mu.Lock()
		wait, ok := f.shut, !f.released
		if wait == nil && ok {
			f.inside++
		}
		f.mu.Unlock()
		if wait == nil {
			return ok
		}
		<-wait
	}
}

func (f *freezer) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inside--
	if f.inside == 0 && f.empty != nil {
		close(f.empty)
		f.empty = nil
	}
}

// freeze admits no more work, and waits until that inside has left. It reports whether that was so in time. Otherwise
// work goes on.
func (f *freezer) freeze(within time.Duration) bool {
	empty := make(chan struct{})
	f.mu.Lock()
	f.shut = make(chan struct{})
	if f.inside == 0 {
		close(empty)
	} else {
		f.empty = empty
	}
	f.mu.Unlock()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-empty:
		f.set(func() { f.frozen = true })
		return true
	case <-late.C:
		f.set(func() { f.empty = nil })
		f.thaw()
		return false
	}
}

func (f *freezer) thaw() {
	f.set(func() {
		f.frozen = false
		close(f.shut)
		f.shut = nil
	})
}

func (f *freezer) release() {
	f.set(func() { f.released = true })
	f.thaw()
}

func (f *freezer) isFrozen() (is bool) {
	f.set(func() { is = f.frozen })
	return is
}

func (f *freezer) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// Thaw resumes the engine after [Engine.Freeze], or starts it from the snapshot in Options.Resume. It does nothing to
// an engine that is not frozen.
func (e *Engine) Thaw() {
	if !e.freezer.isFrozen() {
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
