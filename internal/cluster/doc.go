// Package cluster makes several nodes one headcount, by way of NATS. It is the only package that knows NATS.
//
// # Users
//
// Package union knows how many users a room has on all nodes, and why; sets.go brings its messages over NATS. They need core
// NATS only: no storage, and no leader. Their subjects are PREFIX.v2.KEY.all for all nodes, PREFIX.v2.KEY.node.NAME for one,
// and PREFIX.v2.KEY.room.ROOM for those that have a room open. v2 is the version of the messages: nodes of an older version
// share the events with these, and count on their own. KEY says which secret the hashes of client ids are made with: it is
// in a KV bucket, where the first node puts it, and where the others put theirs again if somebody deletes it. Without
// JetStream all nodes use a key that follows from the prefix.
//
// What is to be done on NATS goes through one queue: a room is subscribed to before its users are asked for, messages to the
// same nodes go out as one, and nobody who comes or leaves waits for the network. Where NATS takes too little, what waits is
// thrown away, and asked for later.
//
// # Events
//
// An emit is published to a JetStream stream, under a subject that is the hash of its room, and is accepted once it is
// stored there. The stream's sequence is the place in the cursors of all nodes. JetStream publishes each stored event again,
// with its sequence and that of the event before it in the room, to the nodes that have the room open: those that have
// readers there, or had a minute ago. A node that sees a hole fetches what is missing before it goes on. A lost last event
// makes no hole; so the node that stored it says so once more, a moment later, and every room is compared with the stream
// once a minute and after every trouble with the connection.
//
// # Without NATS
//
// Streams stay, the local count stays right, the other nodes' users leave the count as their nodes are not heard of, and
// nothing can be emitted. [Node.Ready] says why. When NATS is back, rooms catch up with the stream by themselves; should the
// stream have lost its events or be another one, readers are told by an io:gap; with an old NATS in a cluster also when it
// has another leader, which may have other sequences.
package cluster
