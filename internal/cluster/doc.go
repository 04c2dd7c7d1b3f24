// Package cluster connects several nodes to one headcount through NATS. It is the only package that knows NATS.
//
// # Users
//
// Package union computes how many users a room has on all nodes, and documents the protocol. sets.go sends its messages
// over NATS. They need only core NATS, without storage or a leader. The subject is PREFIX.v4.KEY.all for all nodes,
// PREFIX.v4.KEY.node.NAME for one node, and PREFIX.v4.KEY.room.ROOM for the nodes that have a room open. v4 is the
// version of the messages. Nodes with an older version share the events with these nodes, but count on their own. KEY
// identifies the secret key for the hashes of client ids. The key is in a KV bucket. The first node stores it there,
// and if somebody deletes it, another node stores its copy again. If JetStream does not answer, a node that starts asks
// the others for the key. If none has one, all use a key that follows from the prefix.
//
// One queue holds all work for NATS. A node subscribes to a room before it requests the room's users. Messages to the
// same nodes are sent together. No join or leave waits for the network. If NATS cannot keep up, the queue is dropped
// and the other nodes request the sets later.
//
// # Events
//
// An emit is published to a JetStream stream under a subject with the hash of its room. It is accepted once the stream
// has stored it. The stream's sequence is the position in the cursors of all nodes. JetStream republishes each stored
// event to the nodes that have the room open, with its sequence and that of the room's previous event. A room is open
// while it has subscribers and for a minute afterwards. A node that detects a gap fetches the missing events before it
// continues. A lost last event makes no gap. So the node that stored an event confirms its sequence a moment later.
// Besides, a node compares every room with the stream once a minute and after every problem with the connection.
//
// # Without NATS
//
// Streams stay open and the local count stays right. The users of other nodes leave the count when their nodes expire.
// Emits are refused, and [Node.Ready] says why. When NATS is back, rooms fetch the missing events from the stream. If
// the stream lost its events or was replaced, subscribers get an io:gap. The same happens after a change of the leader
// in a cluster of old NATS servers, because the new leader may use other sequences.
package cluster
