package wire

import (
	"runtime/debug"
	"time"
)

// warmTime is how often a loop looks for ciphers to drop. A cipher is kept for one to two of them after a write.
const warmTime = time.Second

// manyCiphers is how many ciphers must be garbage before their memory, about 1 KB each, goes back to the system at once.
// Go's collector would wait until the memory has doubled.
const manyCiphers = 1000

// ciphers keeps the ciphers of streams while one event follows another. A cipher costs 1 µs to make. But to keep it for
// an idle stream takes more memory than everything else of the stream.
type ciphers struct {
	kept    []*Conn
	garbage int       // ciphers made since the collector ran, and not kept
	used    bool      // in this turn
	turn    uint32    // number of the current warmTime
	ends    time.Time // when the turn ends; zero if no stream was written to lately
}

// seal appends p in one record to dst. It keeps the cipher of c if its last record was a moment ago.
func (k *ciphers) seal(c *Conn, dst, p []byte) []byte {
	if k.ends.IsZero() {
		k.turn += 2 // no turns were counted since the last record
		k.ends = time.Now().Add(warmTime)
	}
	k.used = true
	kept, lately := c.tls.Kept(), k.turn-c.sealed < 2
	c.sealed = k.turn
	dst = c.tls.Seal(dst, p, lately)
	switch {
	case kept:
	case c.tls.Kept():
		k.kept = append(k.kept, c)
	default:
		k.garbage++
	}
	return dst
}

// cool ends a turn. It drops the ciphers of streams that were not written to for a while.
func (k *ciphers) cool(now time.Time) {
	used := k.used
	k.used = false
	k.turn++
	k.ends = now.Add(warmTime)
	all := k.kept
	k.kept = all[:0]
	for _, c := range all {
		switch {
		case c.fd < 0:
			k.garbage++
		case k.turn-c.sealed < 2:
			k.kept = append(k.kept, c)
		default:
			c.tls.Drop()
			k.garbage++
		}
	}
	clear(all[len(k.kept):])
	if len(k.kept) > 0 {
		return
	}
	k.kept = nil
	k.collect()
	if !used {
		k.ends = time.Time{}
	}
}

// collect gives the memory of many ciphers back, unless events follow each other now.
func (k *ciphers) collect() {
	if len(k.kept) == 0 && k.garbage >= manyCiphers {
		k.garbage = 0
		go debug.FreeOSMemory() // takes longer than a loop may stand still
	}
}
