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

// slice is how many clients a pass serves before the loop looks for other work, so that a big room does not hold up a
// small one.
const slice = 512

// ticks is how many parts a heartbeat has. A client gets its heartbeat after ticks-2 to ticks-1 of them, so that a loop
// that runs late is still within the heartbeat.
const ticks = 8

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

func (l *loop) watch(how, fd int, events uint32) error {
	return unix.EpollCtl(l.fd, how, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// tell changes what waits for the loop and wakes the loop if it sleeps.
func (l *loop) tell(change func()) {
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

// poll returns how many sockets are ready. With wait it sleeps until a socket is ready, until tell is called, or until
// the next tick.
func (l *loop) poll(wait bool) (n int) {
	if wait {
		l.asleep.Store(true)
		// A call of tell before the flag was set woke nothing.
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
	if err := l.watch(unix.EPOLL_CTL_MOD, c.fd, c.interest()); err != nil {
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

// takeIn does what tell has queued, and then stands still if Freeze was called. It returns false when the loop should
// stop.
func (l *loop) takeIn() bool {
	l.mu.Lock()
	joined, dirty, endings, pinged, closed := l.joined, l.dirty, l.ending, l.pinged, l.closed
	l.joined, l.dirty, l.ending, l.pinged = nil, nil, nil, nil
	var h *halt // together with the rest: what was told before Freeze is done before the loop stands
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
	for c.fd >= len(l.conns) {
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
	if err := l.watch(unix.EPOLL_CTL_ADD, c.fd, c.interest()); err != nil {
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
	_ = unix.Close(c.fd) // this also removes it from the epoll set
	c.fd = -1
	if c.tls != nil {
		c.tls.Wipe()
	}
	c.owner.Done(why)
}

// pass serves the next slice of the first room in turn.
func (l *loop) pass() {
	g := l.passing[0]
	l.passing = l.passing[1:]
	if g.at == 0 {
		g.told = g.room.Told()
	}
	l.shared.group, l.shared.valid = g, false
	end := min(g.at+slice, len(g.conns))
	for ; g.at < end; g.at++ {
		if c := g.conns[g.at]; c != nil && !c.blocked {
			l.offer(c)
		}
	}
	l.submit()
	l.shared.group = nil
	if g.at < len(g.conns) {
		l.passing = append(l.passing, g)
		return
	}
	g.endPass()
	g.room.Passed(time.Since(g.told))
	if g.again {
		g.again, g.passing = false, true
		l.passing = append(l.passing, g)
	}
	if len(l.passing) == 0 {
		l.passing = nil
	}
}

// heartbeats sends a heartbeat on every stream that has been silent for long.
func (l *loop) heartbeats() {
	l.now++
	for _, c := range l.conns {
		if c != nil && !c.blocked && l.now-c.heard >= ticks-1 {
			l.heartbeat(c)
		}
	}
	l.ciphers.collect()
}

// heartbeat writes a heartbeat, unless there is something better to write. For io:ping there is no substitute, because
// an EventSource hides events without a listener from its page.
func (l *loop) heartbeat(c *Conn) {
	if c.sub.Signals() {
		c.heard, c.ping = l.now, true
		l.flush(c)
		return
	}
	if c.sub.Pending(&l.batch) {
		l.flush(c)
		return
	}
	c.sub.Heartbeat(&l.batch)
	l.send(c, &l.batch)
}

// pushComments writes a comment after each last event that nothing followed for [Push]. The others get theirs later.
func (l *loop) pushComments(now time.Time) {
	due := l.pushing
	l.pushing = nil
	for _, c := range due {
		c.pushing = false
		switch {
		case c.fd < 0 || c.blocked:
		case now.Sub(l.start)-c.event < Push:
			l.pushLater(c)
		case !c.sub.Pending(&l.batch):
			c.sub.Comment(&l.batch)
			l.send(c, &l.batch)
		}
	}
}

func (l *loop) pushLater(c *Conn) {
	if c.pushing {
		return
	}
	c.pushing = true
	if due := l.start.Add(c.event + Push); len(l.pushing) == 0 || due.Before(l.pushAt) {
		l.pushAt = due
	}
	l.pushing = append(l.pushing, c)
}

// close cuts the streams that are left.
func (l *loop) close() {
	for _, c := range l.conns {
		if c != nil {
			Socket{c.fd, c.tls}.Close()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.joined { // came since the last takeIn; Take closes later ones
		Socket{c.fd, c.tls}.Close()
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
