package hub

import (
	"crypto/rand"
	"strconv"
	"strings"
)

// Position is how far a reader is: it has got every event up to Seq and every
// state up to Version. Both only grow within one [Hub].
type Position struct {
	Seq     uint64 // of the room's last event that was read
	Version uint64 // of the newest state that was read

	generation uint32 // of the sequence that Seq counts in, see Hub.Reset
}

// A cursor is a position as text, the id: of every event. It is opaque to
// clients. Its four parts are the epoch that Seq counts in, Seq, the node that
// Version counts on, and Version. Each room and each start has its own epoch, so a cursor from
// elsewhere is told apart from one that is merely old. Where the events come from a
// [Source] the epoch is the source's, and only Version is the node's own.

// appendCursor writes the cursor of p; r.mu is held.
func (r *Room) appendCursor(dst []byte, p Position) []byte {
	dst = append(dst, r.epoch...)
	dst = append(dst, '.')
	dst = strconv.AppendUint(dst, p.Seq, 10)
	dst = append(dst, '.')
	dst = append(dst, r.hub.node...)
	dst = append(dst, '.')
	return strconv.AppendUint(dst, p.Version, 10)
}

// parseCursor reads what appendCursor wrote. known is false if it was not written
// in this epoch; a Version from another node is 0, for nothing is known of it.
func (r *Room) parseCursor(s string) (p Position, known bool) {
	epoch, rest, _ := strings.Cut(s, ".")
	seq, rest, _ := strings.Cut(rest, ".")
	node, version, ok := strings.Cut(rest, ".")
	if !ok || epoch != r.epoch {
		return Position{}, false
	}
	p.generation = r.generation
	var err error
	if p.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		return Position{}, false
	}
	if node == r.hub.node {
		// What is no number is no version: 0, and the states are sent again.
		p.Version, _ = strconv.ParseUint(version, 10, 64)
	}
	return p, true
}

// versionIn returns what a cursor says of the states of this node, 0 if it says nothing.
func (r *Room) versionIn(cursor string) uint64 {
	_, node, ok := strings.Cut(cursor, "."+r.hub.node+".")
	if !ok {
		return 0
	}
	v, err := strconv.ParseUint(node, 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// randomTag returns a short random name: 8 characters of 5 bits.
func randomTag() string { return strings.ToLower(rand.Text()[:8]) }
