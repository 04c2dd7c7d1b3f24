package union

import "time"

// Message is what nodes tell each other: one of the types below. In each, Node is who says it, and Room is where.
type Message any

// State says what a set is like at one place in the sequence of its node's deltas. Equal states mean equal sets.
type State struct {
	Instance  uint64 // which opening of the room by the node; later ones are greater
	Seq       uint64 // of the last delta, 0 before the first
	Size      int    // users in the set
	Xor       uint64 // of their hashes
	Anonymous int    // users without an id, who are not in the set
}

type (
	// Heartbeat says to all nodes that one is alive, how many rooms it has open, and how many users in them.
	Heartbeat struct {
		Node         string
		Incarnation  uint64
		Rooms, Users int
	}

	// Delta says to a room who left a set and who joined it, in this order. A user in both has come again after the node
	// had heard its goodbye. The first delta of an instance follows an empty set.
	Delta struct {
		Node, Room    string
		Instance, Seq uint64
		Anonymous     int
		Left, Joined  []uint64
	}

	// Digest says what a set is like now: to a room when it has been quiet, and to a node whose Sync was right.
	Digest struct {
		Node, Room string
		State
	}

	// Sync asks a node to compare what is known of its set with what it is. It answers with Digest, Set or Closed, and
	// with what it keeps of stopped nodes if Kept asks for that.
	Sync struct {
		Node, Room string
		Kept       bool
		State
	}

	// Set is a part of a whole set. Back is those whose goodbye the node has
	// heard: if they are in the set, they have come again since.
	Set struct {
		Node, Room string
		State
		Part, Parts int
		Back, Users []uint64
	}

	// Closed says that a node does not have a room open, up to an instance.
	Closed struct {
		Node, Room string
		Instance   uint64
	}

	// Goodbye takes users out of a room on every node: now, or after Grace unless they are back by then. It goes to all
	// nodes: one that opens the room a moment later knows that its users have come since.
	Goodbye struct {
		Node, Room string
		Number     uint64 // of Node's
		Grace      time.Duration
		Users      []uint64
	}

	// Kept asks all nodes to go on counting users of a node that stops, each for so many seconds. Back is as in Set.
	Kept struct {
		Node, Room  string
		Back, Users []uint64
		Seconds     []byte
	}

	// Stopped is the last message of a node, behind all that it wants to be kept.
	Stopped struct {
		Node        string
		Incarnation uint64
	}

	// Renew asks a node to renew the leases of users, and is answered by a Renew with those that it holds.
	Renew struct {
		Room  string
		Users []uint64
	}
)

// kinds is all messages. The place of one is its tag on the wire: new ones come last, and none is ever taken out.
func kinds() []Message {
	return []Message{Heartbeat{}, Delta{}, Digest{}, Sync{}, Set{}, Closed{}, Goodbye{}, Kept{}, Stopped{}, Renew{}}
}

// To is who a message goes to: one node, all that have a room open, or all nodes.
type To struct{ Node, Room string }

// Outgoing is a message that is to be sent.
type Outgoing struct {
	To      To
	Message Message
}
