package union

import (
	"cmp"
	"time"
)

// Message is a message between nodes. It is one of the types below. In each, Node is the sender and Room is the room.
type Message interface {
	apply(m *Machine) // handles it on the node that gets it
}

// State describes a set at one position in the sequence of its node's deltas. Equal states mean equal sets.
type State struct {
	Instance  uint64 // counts the openings of the room by a process; later ones are greater
	Seq       uint64 // of the last delta, 0 before the first
	Size      int    // users in the set
	Xor       uint64 // of their hashes
	Anonymous uint32 // users without an id, who are not in the set
}

// RoomState is the state of a node's set in a room.
type RoomState struct {
	Room string
	State
}

// compare returns the sign of the difference between two positions.
func (s State) compare(instance, seq uint64) int {
	return cmp.Or(cmp.Compare(s.Instance, instance), cmp.Compare(s.Seq, seq))
}

type (
	// Heartbeat says to all nodes that a node is alive, how many rooms it has open, and how many users are in them.
	Heartbeat struct {
		Node         string
		Incarnation  uint64
		Rooms, Users int
	}

	// Delta says to a room which users left and which joined a set. The first delta of an instance follows an empty set. A
	// user who is in the set already joins again to say that it has a stream there, when another node asks to keep it.
	Delta struct {
		Node, Room    string
		Instance, Seq uint64
		Anonymous     uint32
		Left, Joined  Hashes
	}

	// Digest describes a node's sets as they are now. It goes to a room a moment after the last change, and to a node whose
	// Sync matched.
	Digest struct {
		Node string
		Sets []RoomState
	}

	// Sync asks a node to compare its sets with what the sender knows of them. The answer for each is Digest, Set or
	// Closed. If the sender knows nothing of it, Kept messages come before that.
	Sync struct {
		Node string
		Sets []RoomState
	}

	// Set is a part of a whole set.
	Set struct {
		Node, Room string
		State
		Part, Parts int
		Users       Hashes
	}

	// Closed says that a node does not have a room open, up to an instance.
	Closed struct {
		Node, Room string
		Instance   uint64
	}

	// Goodbye removes users from a room on every node, now or after Grace unless they reconnect before. It goes to all
	// nodes. Those that hold the users send deltas.
	Goodbye struct {
		Room  string
		Grace time.Duration
		Users Hashes
	}

	// Kept asks to keep counting users of a node that stops, each for some milliseconds. The node itself sends it to
	// all nodes before it stops. Back lists those whose goodbye the node knew already, so it holds no more. The
	// others repeat it for a node that opens the room.
	Kept struct {
		Node, Room  string
		Repeat      bool
		Back, Users Hashes
		Millis      []uint32
	}

	// Stopped is the last message of a node. It follows all its Kept messages.
	Stopped struct {
		Node        string
		Incarnation uint64
	}

	// Renew asks a node that holds users to renew their leases.
	Renew struct {
		Room  string
		Users Hashes
	}
)

// To is the destination of a message: one node, all nodes that have a room open, or all nodes.
type To struct{ Node, Room string }

// Outgoing is a message to send.
type Outgoing struct {
	To      To
	Message Message
}
