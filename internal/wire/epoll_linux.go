package wire

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"headcount/internal/hub"
	"headcount/internal/tlsconn"
)

// Epoll writes to the clients of HTTP/1.x, plain or with TLS 1.3. It has GOMAXPROCS loops. Each loop is one goroutine
// with one epoll set. A client costs a descriptor and a small struct. An idle client costs no goroutine, no buffer
// and no timer.
type Epoll struct {
	loops []*loop
	uring bool
	halt  atomic.Pointer[halt] // while they are frozen
	wait  sync.WaitGroup
}

// Owner is the whole of a stream.
type Owner interface {
	// Conn returns where the loop keeps its part of the stream, so that a stream is one object.
	Conn() *Conn
	// Done is called once, when the stream has ended. The loop serves no other stream until Done returns.
	Done(Reason)
}

// NewEpoll starts the loops. [Epoll.Close] ends them. heartbeat is the longest silence on a stream, more than 0. With
// uring, one system call serves many clients where the kernel lets this process do so.
func NewEpoll(heartbeat time.Duration, uring bool) (*Epoll, error) {
	e := &Epoll{uring: uring}
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop(heartbeat, uring)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start epoll writer: %w", err), e.Close())
		}
		e.uring = e.uring && l.ring != nil
		e.loops = append(e.loops, l)
		e.wait.Go(l.run)
	}
	return e, nil
}

// Uring reports whether io_uring was wanted and is used.
func (e *Epoll) Uring() bool { return e.uring }

// Close cuts every stream and ends the loops. It notifies no owner.
func (e *Epoll) Close() error {
	for _, l := range e.loops {
		l.post(func() { l.closed = true })
	}
	e.Thaw() // so that they end without another look at their streams
	e.wait.Wait()
	return nil
}

// Conn is one stream that a loop writes.
type Conn struct {
	loop  *loop
	group *group
	sub   hub.Sub // in place, so that a delivery looks at one object only
	owner Owner
	tls   *tlsconn.Sealer // nil if plain

	// Used only by the loop:
	fd      int32
	index   int32         // in group.conns
	heard   uint32        // the tick of the last write, or of the last io:ping for clients with an id
	sealed  uint32        // the turn of ciphers in which the last TLS record was made
	event   time.Duration // when the last event went out, since loop.start, if push is set
	push    bool          // a comment follows each last event; never changed
	blocked bool          // the socket's buffer is full, and EPOLLOUT will report room
	pushing bool          // it is in loop.pushing
	over    bool          // the last bytes are on their way; then close
	ping    bool          // Ping was called
	end     bool          // End was called, or the loop wants the end
	deaf    bool          // the client sent something over TLS; further input is ignored
	retry   time.Duration
}

// Take writes sub's events to the socket until the client has left or [Conn.End] was called. Then it notifies owner.
// Take owns the socket from now on. With push a comment follows each last event, see [Push].
func (e *Epoll) Take(s Socket, sub *hub.Sub, push bool, owner Owner) *Conn {
	c := owner.Conn()
	*c = Conn{fd: int32(s.fd), tls: s.tls, sub: *sub, push: push, owner: owner}
	e.pick().take(c)
	return c
}

func (c *Conn) socket() Socket { return Socket{int(c.fd), c.tls} }

func (l *loop) take(c *Conn) {
	c.loop = l
	l.load.Add(1)
	l.post(func() {
		if l.over { // Close has cut the others
			c.socket().Close()
			return
		}
		l.joined = append(l.joined, c)
	})
}

// enough is how many streams a loop has before the next loop is used. Two loops that share the clients of a small room
// take more processor time than one. One loop writes to that many in some milliseconds.
const enough = 1024

// pick returns the loop for a new stream.
func (e *Epoll) pick() *loop {
	least := e.loops[0]
	for _, l := range e.loops {
		if l.load.Load() < enough {
			return l
		}
		if l.load.Load() < least.load.Load() {
			least = l
		}
	}
	return least
}

// End asks the stream to end cleanly, after at most one more batch of what is pending, and tells its client to
// reconnect after retry. It returns at once and may be called at any time, any number of times.
func (c *Conn) End(retry time.Duration) {
	c.loop.post(func() { c.loop.ending = append(c.loop.ending, ending{c, retry}) })
}

// Ping sends a heartbeat that needs an answer, even if there is news to write. It returns at once.
func (c *Conn) Ping() {
	c.loop.post(func() { c.loop.pinged = append(c.loop.pinged, c) })
}

// Format is for package fmt. It hides the keys of the connection.
func (c *Conn) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "[stream %p]", c) }

type ending struct {
	conn  *Conn
	retry time.Duration
}

// group is the clients that one loop has in one room.
type group struct {
	loop  *loop
	room  *hub.Room
	conns []*Conn // during a pass, nil where a client has left

	news     bool // guarded by loop.mu; the group is in loop.dirty
	passing  bool
	again    bool // news came during the pass
	at       int  // how far the pass is
	holes    int
	notified time.Time // when the news of this pass came
}

// wake is called by the room, under its lock, when there is news.
func (g *group) wake() {
	g.loop.post(func() {
		if !g.news {
			g.news = true
			g.loop.dirty = append(g.loop.dirty, g)
		}
	})
}

func (g *group) add(c *Conn) {
	c.group, c.index = g, int32(len(g.conns))
	g.conns = append(g.conns, c)
}

// remove takes c out. During a pass it leaves a hole. If it moved another client into that place, the pass could skip
// that client.
func (g *group) remove(c *Conn) {
	if g.passing {
		g.conns[c.index] = nil
		g.holes++
		return
	}
	last := g.conns[len(g.conns)-1]
	g.conns[c.index], last.index = last, c.index
	g.conns[len(g.conns)-1] = nil
	g.conns = g.conns[:len(g.conns)-1]
}

// endPass closes the holes.
func (g *group) endPass() {
	g.passing, g.at = false, 0
	if g.holes == 0 {
		return
	}
	kept := g.conns[:0]
	for _, c := range g.conns {
		if c != nil {
			c.index = int32(len(kept))
			kept = append(kept, c)
		}
	}
	clear(g.conns[len(kept):])
	g.conns, g.holes = kept, 0
}
