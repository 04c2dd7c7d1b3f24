// Package union computes how many users each room has on all nodes.
//
// A [Machine] is the knowledge of one node. It is pure. It gets the time, the changes of its own users and the messages
// of other nodes, and returns the messages to send and the rooms whose count has changed. It starts nothing, waits for
// nothing and reads no clock. Package cluster connects it to NATS.
//
// # The protocol
//
// Each node tells the others which users it holds, as a set of hashes of client ids. Users without an id cannot move, so
// a number is enough for them. Only the node itself changes its set. The count is the size of the union of all sets,
// plus the numbers.
//
//   - A change is a [Delta]. Deltas are numbered. They are sent at once, but at most every 100 ms for each room.
//   - A missing number, a [Digest] that does not match, a reconnect, or opening a room leads to a [Sync]. It says what
//     is known of a set. The answer is a Digest if that is right, and the whole [Set] otherwise.
//   - A user who moves is in two sets for a while, because the node that it left holds it for a grace period. The union
//     has it once, all the time.
//   - A [Goodbye] goes to all nodes. A node that holds the user removes it, see [Change], and sends a Delta. Until then
//     it counts, once.
//   - A node that stops asks the others to keep its users ([Kept]). Each counts for its time, or until it joins another
//     node. A node that has a stream of the user already reports again that it has joined.
//   - A node that sends nothing for 4.7 s, not even its [Heartbeat], does not count any more. Its sets are remembered for
//     a minute. If it is heard again, a Sync finds out whether they are still right.
//
// Messages of one node arrive in order, or the node is asked again. Each set has one writer, so nothing has to be merged.
// TestModel states the invariants, with what a node cannot know.
package union
