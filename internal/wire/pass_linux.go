package wire

import "time"

// slice is how many clients a pass serves before the loop looks for other work, so that a big room does not hold up a
// small one.
const slice = 512

// ticks is how many parts a heartbeat has. A client gets its heartbeat after ticks-2 to ticks-1 of them, so that a loop
// that runs late is still within the heartbeat.
const ticks = 8

// pass serves the next slice of the first room in turn.
func (l *loop) pass() {
	g := l.passing[0]
	l.passing = l.passing[1:]
	if g.at == 0 {
		g.notified = g.room.Notified()
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
	g.room.Passed(time.Since(g.notified))
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
