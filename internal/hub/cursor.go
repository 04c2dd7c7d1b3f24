package hub

import (
	"crypto/rand"
	"strconv"
	"strings"

	"headcount/internal/sse"
)

// Position is how far a reader is: it has got every event up to Seq and every
// state up to Version. Both only grow within one [Hub].
type Position struct {
	Seq     uint64 // of the room's last event that was read
	Version uint64 // of the newest state that was read

	generation uint32 // of the sequence that Seq counts in, see Hub.Reset
}

// Cursor is a position as text, the id: of every event. It is opaque to clients, and this
// is the one place that knows its parts. Each room and each start has its own epoch, so a
// cursor from elsewhere is told apart from one that is merely old. Where the events come
// from a [Source] the epoch is the source's, and only Version is the node's own.
type Cursor struct {
	Epoch   string // that Seq counts in
	Seq     uint64
	Node    string // that Version counts on
	Version uint64
	Poller  string // name of a reader without client id that polls, "" = none
}

// ParseCursor reads what [Cursor.Append] wrote, and reports whether the text is a cursor at
// all. A version that is no number is 0: the states are sent again.
func ParseCursor(text string) (c Cursor, ok bool) {
	parts := strings.SplitN(text, ".", 5)
	if len(parts) < 4 {
		return Cursor{}, false
	}
	seq, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return Cursor{}, false
	}
	c = Cursor{Epoch: parts[0], Seq: seq, Node: parts[2]}
	if version, err := strconv.ParseUint(parts[3], 10, 64); err == nil {
		c.Version = version
	}
	if len(parts) == 5 && sse.CheckClientID(parts[4]) == nil {
		c.Poller = parts[4]
	}
	return c, true
}

// Append appends the text of the cursor.
func (c Cursor) Append(dst []byte) []byte {
	dst = append(dst, c.Epoch...)
	dst = append(dst, '.')
	dst = strconv.AppendUint(dst, c.Seq, 10)
	dst = append(dst, '.')
	dst = append(dst, c.Node...)
	dst = append(dst, '.')
	dst = strconv.AppendUint(dst, c.Version, 10)
	if c.Poller != "" {
		dst = append(append(dst, '.'), c.Poller...)
	}
	return dst
}

// String returns the text of the cursor.
func (c Cursor) String() string { return string(c.Append(nil)) }

// appendCursor writes the cursor of p; r.mu is held.
func (r *Room) appendCursor(dst []byte, p Position) []byte {
	return Cursor{Epoch: r.epoch, Seq: p.Seq, Node: r.hub.node, Version: p.Version}.Append(dst)
}

// position is where the reader of a cursor is. known is false if it was not written
// in this epoch; a version from another node is 0, for nothing is known of it.
func (r *Room) position(c Cursor) (p Position, known bool) {
	if c.Epoch != r.epoch {
		return Position{}, false
	}
	return Position{Seq: c.Seq, Version: r.versionIn(c), generation: r.generation}, true
}

// versionIn returns what a cursor says of the states of this node, 0 if it says nothing.
func (r *Room) versionIn(c Cursor) uint64 {
	if c.Node != r.hub.node {
		return 0
	}
	return c.Version
}

// randomTag returns a short random name: 8 characters of 5 bits.
func randomTag() string { return strings.ToLower(rand.Text()[:8]) }
