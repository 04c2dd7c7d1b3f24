// Package cluster makes several nodes one headcount, by way of NATS. It is the only
// package that knows NATS.
//
// # Events
//
// An emit is published to a JetStream stream, under a subject that is the hash of its
// room, and is accepted once it is stored there. The stream's sequence is the place in
// the cursors of all nodes. JetStream publishes each stored event again, with its
// sequence and that of the event before it in the room, to the nodes that have the
// room open: those that have readers there, or had a minute ago. A node that sees a
// hole fetches what is missing before it goes on. A lost last event makes no hole; so
// the node that stored it says so once more, a moment later, and every room is
// compared with the stream once a minute and after every trouble with the connection.
//
// # Counts
//
// Each node writes how many users it has in a room to a KV bucket when that changes,
// at most ten times a second. The count of a room is the sum of these entries over the
// nodes that are alive. The nodes that have the room open hear of the write itself, so
// that no count waits for storage; who opens a room reads the bucket. An entry is
// written again once a minute, and vanishes three minutes after the last writing.
//
// A node is alive while it is heard from: once a second, dead after four without. It
// is then dead for good: if it comes back, it does so under a new name.
//
// # Moves
//
// A reader that comes back on another node brings a cursor that names the one it was
// on. The new node claims it there before it counts it, so that it is counted once.
// The two nodes' entries reach a third one at different times, so each says how many
// users came from, and went to, which other entry: a user who has come but not gone
// yet, or gone but not come yet, is seen as such, and nobody's count moves. A node
// that does not answer cannot say that the user has gone; the claim stands, and is
// repeated until it answers or is dead. A user that goes on before the others were told
// of it has come from nowhere, as far as they know; the node that it leaves shows it to
// its readers until the next one says that it is there.
//
// A node that stops hands the users that it still counts over to another node that has
// the room open, its heir, and says so in its last word.
//
// A client id with streams on several nodes at once is counted where it joined last.
// Nodes tell each other the ids that joined without a claim in their count entries.
//
// # Without NATS
//
// Streams stay, the local count stays right, the other nodes' users leave the count
// as their nodes' names expire, and nothing can be emitted. [Node.Ready] says why.
// When NATS is back, rooms catch up with the stream by themselves; should the stream
// have lost its events or be another one, readers are told by an io:gap; with an old NATS
// in a cluster also when it has another leader, which may have other sequences.
package cluster
