package engine

import (
	"math/rand/v2"
	"time"
)

// Leases. A proxy may keep its side of a stream open long after the reader has gone,
// so a stream with a client id that came through one proves nothing by being open:
// it is pinged, and counts while its client answers.
const (
	PingEvery = 25 * time.Second
	// LeaseTime is two pings without an answer and the time an answer may take. A client
	// that vanished is gone within 60 s.
	LeaseTime = 2*PingEvery + 5*time.Second
	// confirmWithin is how long the first answer may take. A stream that has not been
	// answered by then is probably held back on the way; ending it cleanly hands what
	// it holds over.
	confirmWithin = 5 * time.Second
	// returnWithin is how long a client that was told to come back at once may take: what is on
	// the way may be slow, even if no proxy shows. But a client that vanished without a proxy
	// must be gone within 30 s, of which a poll may take 20 and the grace period 2.
	returnWithin = 7 * time.Second
	// detourWithin is the same behind a proxy, which may be slow: to read all of an answer,
	// to have it scanned for viruses, to connect anew.
	detourWithin = 10 * time.Second
	// seldomWithin and seldomDetourWithin are the same for a client that asks for many rooms in turn, by polls that do not
	// wait. A hidden page does so every 10 s or so. With the grace period they are less than the 30 s and the 60 s for clients
	// that vanish.
	seldomWithin       = 25 * time.Second
	seldomDetourWithin = 50 * time.Second
	// HandoverWithin is how long the client of a stream may take that ended because this node stops: up to 3 s that it was
	// told to wait, and a slow way.
	HandoverWithin = 3*time.Second + detourWithin
	// moveWithin is the shortest grace period where there are other nodes: by then all of them know about a user
	// that moved to one of them.
	moveWithin = 250 * time.Millisecond
)

// PollTime is how long a poll waits for news: less than any proxy cuts after.
const PollTime = 20 * time.Second

// KeyLife is how long an idempotency key is remembered.
const KeyLife = 2 * time.Minute

// drainRate is how many streams a stopping server ends in a second, at least.
const drainRate = 200

// Retry is how long a reader is told to wait before it comes back: random, so that
// many do not come at once.
func Retry() time.Duration { return time.Second + rand.N(2*time.Second) }

// retry is that of a new stream. One with a client id is to be back within its grace period,
// so that the way back is no flicker in the count.
func (e *Engine) retry(named bool) time.Duration {
	if span := e.opt.Linger - 1200*time.Millisecond; named && span > 0 && span < 2*time.Second {
		return time.Second + rand.N(span)
	}
	return Retry()
}

// soon is the retry of a reader that should come back at once, and not all together.
// Never 0: it makes browsers spin.
func soon() time.Duration { return 100*time.Millisecond + rand.N(200*time.Millisecond) }
