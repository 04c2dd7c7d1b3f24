package wire

import (
	"iter"
	"slices"
	"sync"
	"time"

	"headcount/internal/hub"
	"headcount/internal/tlsconn"
)

// halt is what the loops wait for while they are frozen.
type halt struct {
	standing sync.WaitGroup // done by each loop once it stands still
	thaw     chan struct{}  // closed when they continue
}

// Freeze stops reading and writing, and returns when every loop stands still or has ended by [Epoll.Close]. Requests made
// before are carried out or in the stream's [ConnState]. Requests made meanwhile are carried out after [Epoll.Thaw].
func (e *Epoll) Freeze() {
	h := &halt{thaw: make(chan struct{})}
	e.halt.Store(h)
	h.standing.Add(len(e.loops))
	for _, l := range e.loops {
		l.post(func() {
			if l.over { // Close has ended it
				h.standing.Done()
			} else {
				l.halt = h
			}
		})
	}
	h.standing.Wait()
}

// Thaw continues where Freeze stopped.
func (e *Epoll) Thaw() {
	if h := e.halt.Swap(nil); h != nil {
		close(h.thaw)
	}
}

// stand waits until h is thawed, or not at all if h is nil. It returns false if the loop should stop.
func (l *loop) stand(h *halt) bool {
	if h == nil {
		return true
	}
	h.standing.Done()
	<-h.thaw
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed
}

// Streams returns the streams of frozen loops, also those that were taken meanwhile.
func (e *Epoll) Streams() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, l := range e.loops {
			l.mu.Lock()
			joined := slices.Clone(l.joined)
			l.mu.Unlock()
			for _, c := range slices.Concat(l.conns, joined) {
				if c != nil && !yield(c) {
					return
				}
			}
		}
	}
}

// Owner returns the owner that [Epoll.Take] was given.
func (c *Conn) Owner() Owner { return c.owner }

// FD returns the descriptor, which the loop still owns.
func (c *Conn) FD() int { return int(c.fd) }

// Export returns what [Epoll.Resume] needs. The loop must be frozen.
func (c *Conn) Export() ConnState {
	st := ConnState{
		Sub: c.sub.Export(), Push: c.push, Due: c.pushing, Last: time.Since(c.loop.start) - c.event,
		Silent: time.Duration(c.loop.now-c.heard) * c.loop.tick,
		Ping:   c.ping, End: c.end, Retry: c.retry,
	}
	if c.tls != nil {
		st.TLS = c.tls.Export()
	}
	return st
}

// Resume is [Epoll.Take] for a stream of another process, in a room whose state was imported. It fails if the keys are
// invalid. The caller then still owns fd.
func (e *Epoll) Resume(fd int, room *hub.Room, st ConnState, owner Owner) (*Conn, error) {
	var sealer *tlsconn.Sealer
	if st.TLS != nil {
		var err error
		if sealer, err = tlsconn.Import(st.TLS); err != nil {
			return nil, err
		}
	}
	l, c := e.pick(), owner.Conn()
	*c = Conn{
		fd: int32(fd), tls: sealer, sub: *room.Resume(st.Sub), owner: owner,
		push: st.Push, pushing: st.Due, event: time.Since(l.start) - st.Last,
		over: st.Sub.Over, ping: st.Ping, end: st.End, retry: st.Retry,
	}
	c.heard -= uint32(min(st.Silent/l.tick, ticks))
	l.take(c)
	return c, nil
}
