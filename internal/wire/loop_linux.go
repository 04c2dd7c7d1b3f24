package wire

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"headcount/internal/hub"
	"headcount/internal/lockorder"
)

type loop struct {
	set     *os.File // the epoll set, itself in Go's poller, so waiting blocks no thread
	raw     syscall.RawConn
	fd      int // of set
	wakeFD  int
	asleep  atomic.Bool
	load    atomic.Int32 // streams taken and not yet gone
	start   time.Time
	tick    time.Duration
	ticked  time.Time // when the next tick is due
	now     uint32    // ticks so far
	conns   []*Conn   // by descriptor
	open    int
	groups  map[*hub.Room]*group
	pushing []*Conn   // clients that want a comment after their last event
	pushAt  time.Time // when they get it, if nothing has followed
	passing []*group  // groups with a pass under way or due, in turn
	batch   hub.Batch
	buffer  []byte
	sealed  []byte // the record that is being written
	ciphers ciphers
	shared  shared
	ring    *ring // nil where there is none
	events  [256]unix.EpollEvent

	mu     lockorder.Mutex[lockorder.Leaf]
	joined []*Conn
	dirty  []*group
	ending []ending
	pinged []*Conn
	halt   *halt // Freeze was called
	closed bool  // Close was called
	over   bool  // the loop has ended
}

func newLoop(heartbeat time.Duration, uring bool) (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll set: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("make epoll set: %w", err)
	}
	set := os.NewFile(uintptr(fd), "epoll")
	wakeFD, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make eventfd: %w", err), set.Close())
	}
	l := &loop{set: set, fd: fd, wakeFD: wakeFD, start: time.Now(), tick: heartbeat / ticks, groups: make(map[*hub.Room]*group)}
	if l.raw, err = set.SyscallConn(); err == nil {
		err = l.watch(unix.EPOLL_CTL_ADD, wakeFD, unix.EPOLLIN)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch eventfd: %w", err), set.Close(), unix.Close(wakeFD))
	}
	if uring {
		l.ring, _ = newRing() // otherwise the loop uses write(2)
	}
	return l, nil
}

func (l *loop) watch(op, fd int, events uint32) error {
	return unix.EpollCtl(l.fd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// post changes what waits for the loop and wakes the loop if it sleeps.
func (l *loop) post(change func()) {
	l.mu.Lock()
	change()
	l.mu.Unlock()
	if l.asleep.CompareAndSwap(true, false) {
		one := [8]byte{1}
		// It cannot block. At worst the counter is full, and then the loop is awake anyway.
		_, _ = unix.Write(l.wakeFD, one[:])
	}
}

func (l *loop) run() {
	defer l.close()
	l.ticked = time.Now().Add(l.tick)
	for {
		n := l.poll(len(l.passing) == 0)
		for _, ev := range l.events[:n] {
			l.handle(ev)
		}
		if !l.takeIn() {
			return
		}
		now := time.Now()
		if !now.Before(l.ticked) {
			l.ticked = now.Add(l.tick)
			l.heartbeats()
		}
		if len(l.pushing) > 0 && !now.Before(l.pushAt) {
			l.pushComments(now)
		}
		if ends := l.ciphers.ends; !ends.IsZero() && !now.Before(ends) {
			l.ciphers.cool(now)
		}
		if len(l.passing) > 0 {
			l.pass()
		}
	}
}

// poll returns how many sockets are ready. With wait it sleeps until a socket is ready, until post is called, or until
// the next tick.
func (l *loop) poll(wait bool) (n int) {
	if wait {
		l.asleep.Store(true)
		// A call of post before the flag was set woke nothing.
		l.mu.Lock()
		if len(l.joined)+len(l.dirty)+len(l.ending)+len(l.pinged) > 0 || l.halt != nil || l.closed {
			wait = false
		}
		l.mu.Unlock()
	}
	if !wait {
		l.asleep.Store(false)
		n, _ = unix.EpollWait(l.fd, l.events[:], 0) // after EINTR, the next call does it
		return max(n, 0)
	}
	// Without streams there are no ticks.
	deadline := time.Time{}
	if l.open > 0 {
		deadline = l.ticked
	}
	if len(l.pushing) > 0 && l.pushAt.Before(deadline) {
		deadline = l.pushAt
	}
	if ends := l.ciphers.ends; !ends.IsZero() && (deadline.IsZero() || ends.Before(deadline)) {
		deadline = ends
	}
	_ = l.set.SetReadDeadline(deadline)
	_ = l.raw.Read(func(uintptr) bool {
		n, _ = unix.EpollWait(l.fd, l.events[:], 0)
		return n > 0
	})
	l.asleep.Store(false)
	return max(n, 0)
}

func (l *loop) handle(ev unix.EpollEvent) {
	if int(ev.Fd) == l.wakeFD {
		var count [8]byte
		_, _ = unix.Read(l.wakeFD, count[:])
		return
	}
	c := l.conns[ev.Fd]
	switch {
	case c == nil:
	case ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0:
		// A client that only closed its sending side counts as gone too, as in net/http.
		l.leave(c)
	case ev.Events&unix.EPOLLIN != 0:
		l.hear(c)
	case ev.Events&unix.EPOLLOUT != 0:
		c.blocked = false
		if l.watchFor(c) {
			l.flush(c)
		}
	}
}

// watchFor changes what is watched for, and reports whether c is still alive.
func (l *loop) watchFor(c *Conn) bool {
	if err := l.watch(unix.EPOLL_CTL_MOD, int(c.fd), c.interest()); err != nil {
		l.gone(c, Gone)
		return false
	}
	return true
}

// interest returns what c is watched for now. Over TLS this includes input, which may be a close_notify.
func (c *Conn) interest() uint32 {
	var events uint32 = unix.EPOLLRDHUP
	if c.tls != nil && !c.deaf {
		events |= unix.EPOLLIN
	}
	if c.blocked {
		events |= unix.EPOLLOUT
	}
	return events
}

// takeIn does what post has queued, and then stands still if Freeze was called. It returns false when the loop should
// stop.
func (l *loop) takeIn() bool {
	l.mu.Lock()
	joined, dirty, endings, pinged, closed := l.joined, l.dirty, l.ending, l.pinged, l.closed
	l.joined, l.dirty, l.ending, l.pinged = nil, nil, nil, nil
	var h *halt // together with the rest: what was posted before Freeze is done before the loop stands
	if !closed {
		h, l.halt = l.halt, nil
	}
	for _, g := range dirty {
		g.news = false
	}
	l.mu.Unlock()
	for _, c := range joined {
		l.join(c)
	}
	for _, g := range dirty {
		if !g.passing {
			g.passing = true
			l.passing = append(l.passing, g)
		} else {
			g.again = true
		}
	}
	for _, c := range pinged {
		if c.fd < 0 {
			continue
		}
		c.ping = true
		if !c.blocked {
			l.flush(c)
		}
	}
	for _, e := range endings {
		if c := e.conn; c.fd >= 0 && !c.end {
			c.end, c.retry = true, e.retry
			if !c.blocked {
				l.flush(c)
			}
		}
	}
	return !closed && l.stand(h)
}

func (l *loop) join(c *Conn) {
	for int(c.fd) >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.conns[c.fd] = c
	l.open++
	c.heard += l.now
	if c.pushing { // as the process before this one reported
		c.pushing = false
		l.pushLater(c)
	}
	room := c.sub.Room()
	g := l.groups[room]
	if g == nil {
		g = &group{loop: l, room: room}
		l.groups[room] = g
		room.Attach(g, g.wake)
	}
	g.add(c)
	if err := l.watch(unix.EPOLL_CTL_ADD, int(c.fd), c.interest()); err != nil {
		l.gone(c, Gone)
		return
	}
	if c.tls != nil && c.push { // Detach has written the opening
		c.event = time.Since(l.start)
		l.pushLater(c)
	}
	l.flush(c)
}

// gone closes a stream and notifies its owner.
func (l *loop) gone(c *Conn, why Reason) {
	g := c.group
	g.remove(c)
	if len(g.conns)-g.holes == 0 {
		g.room.Detach(g)
		delete(l.groups, g.room)
	}
	l.conns[c.fd] = nil
	l.open--
	l.load.Add(-1)
	_ = unix.Close(int(c.fd)) // this also removes it from the epoll set
	c.fd = -1
	if c.tls != nil {
		c.tls.Wipe()
	}
	c.owner.Done(why)
}

// close cuts the streams that are left.
func (l *loop) close() {
	for _, c := range l.conns {
		if c != nil {
			c.socket().Close()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.joined { // came since the last takeIn; Take closes later ones
		c.socket().Close()
	}
	if l.ring != nil {
		l.ring.close()
	}
	l.joined, l.over = nil, true
	if l.halt != nil { // Freeze came too late, and does not wait for a loop that has ended
		l.halt.standing.Done()
	}
	_ = unix.Close(l.wakeFD)
	_ = l.set.Close()
}
