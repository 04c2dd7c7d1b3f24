package engine

import (
	"math/rand/v2"
	"time"
)

// Leases. A proxy may keep its side of a stream open long after the client has gone. So a stream with a client id that
// came through a proxy proves nothing by being open. The server pings it, and counts it while its client answers.
const (
	PingEvery = 25 * time.Second
	// LeaseTime is two pings without an answer plus the time for one answer. A client that vanished leaves the count
	// within 60 s.
	LeaseTime = 2*PingEvery + 5*time.Second
	// confirmWithin is how long the first answer may take. A stream without an answer by then is probably buffered on
	// the way. A clean end makes the proxy deliver the buffered events.
	confirmWithin = 5 * time.Second
	// returnWithin is how long a client may take to reconnect after it was told to do so at once. The network may be
	// slow, even if no proxy is visible. A client that vanished without a proxy must leave the count within 30 s, of
	// which a poll may take 20 s and the grace period 2 s.
	returnWithin = 7 * time.Second
	// detourWithin is the same behind a proxy. A proxy may take time to read the whole response, to scan it for viruses
	// and to open a new connection.
	detourWithin = 10 * time.Second
	// seldomWithin and seldomDetourWithin are the same for a client that asks for many rooms in turn, with polls that
	// do not wait. A hidden page does so about every 10 s. With the grace period they stay below the 30 s and 60 s for
	// clients that vanish.
	seldomWithin       = 25 * time.Second
	seldomDetourWithin = 50 * time.Second
	// HandoverWithin is how long the client of a stream may take to reconnect after this node ended the stream because
	// it stops. The client was told to wait up to 3 s, and the network may be slow.
	HandoverWithin = 3*time.Second + detourWithin
	// moveWithin is the shortest grace period with other nodes. By then all nodes know about a user that moved to
	// another node.
	moveWithin = 250 * time.Millisecond
)

// PollTime is how long a poll waits for events. It is shorter than the timeout of any proxy.
const PollTime = 20 * time.Second

// KeyLife is how long an idempotency key is kept.
const KeyLife = 2 * time.Minute

// drainRate is how many streams a stopping server ends per second, at least.
const drainRate = 200

// Retry returns how long a client must wait before it reconnects. It is random, so that many clients do not reconnect
// at once.
func Retry() time.Duration { return time.Second + rand.N(2*time.Second) }

// retry returns the reconnection time of a new stream. A stream with a client id must reconnect within its grace
// period, so that the count does not flicker.
func (e *Engine) retry(named bool) time.Duration {
	if span := e.opt.Linger - 1200*time.Millisecond; named && span > 0 && span < 2*time.Second {
		return time.Second + rand.N(span)
	}
	return Retry()
}

// soon is the reconnection time for clients that should reconnect at once, but not all together. It is never 0, because
// that makes browsers retry in a tight loop.
func soon() time.Duration { return 100*time.Millisecond + rand.N(200*time.Millisecond) }
