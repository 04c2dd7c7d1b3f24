package hub

import (
	"crypto/rand"
	"strconv"
	"strings"

	"headcount/internal/sse"
)

// Position is how far a subscriber is. It has got every event up to Seq and every state up to Version. Both only grow
// within one [Hub].
type Position struct {
	Seq     uint64 // of the last event of the room that was delivered
	Version uint64 // of the newest state that was delivered

	generation uint32 // of the sequence that Seq counts in, see Hub.Reset
}

// Cursor is a position as text. It is the id of every event. It is opaque to clients, and only this file knows its
// parts. Each room and each start has its own epoch, so the hub can tell a cursor from elsewhere from an old one. Where
// the events come from a [Source], the epoch is that of the source, and only Version belongs to the node.
type Cursor struct {
	Epoch   string // that Seq counts in
	Seq     uint64
	Node    string // that Version counts on
	Version uint64
	Poller  string // name of a client that polls without a client id, "" = none
}

// ParseCursor parses what [Cursor.Append] wrote, and reports whether the text is a cursor at all. A version that is not
// a number counts as 0, and then the states are sent again.
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

// appendCursor appends the cursor of p. The caller holds r.mu.
func (r *Room) appendCursor(dst []byte, p Position) []byte {
	return Cursor{Epoch: r.epoch, Seq: p.Seq, Node: r.hub.node, Version: p.Version}.Append(dst)
}

// position returns the position that a cursor stands for. known is false if the cursor was not written in this epoch. A
// version from another node counts as 0, because this node knows nothing about it.
func (r *Room) position(c Cursor) (p Position, known bool) {
	if c.Epoch != r.epoch {
		return Position{}, false
	}
	return Position{Seq: c.Seq, Version: r.versionIn(c), generation: r.generation}, true
}

// versionIn returns which version of this node's states a cursor contains, 0 if it contains none.
func (r *Room) versionIn(c Cursor) uint64 {
	if c.Node != r.hub.node {
		return 0
	}
	return c.Version
}

// randomTag returns a short random name. It has 8 characters of 5 bits each.
func randomTag() string { return strings.ToLower(rand.Text()[:8]) }
