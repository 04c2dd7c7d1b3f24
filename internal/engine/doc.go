// Package engine is the life of a stream: it lets a subscriber in, counts its user, has a
// writer bring it what its room has to tell, renews its lease, ends it, and gives back what
// it held. Polls are streams with one answer. It knows no route and no HTTP status: what it
// refuses is a [Refusal].
//
// # Usage
//
// [New] makes an [Engine]; [Engine.Run] is to run for as long as users are counted.
// [Engine.Subscribe] lets a subscriber in. Whoever got the [Stream] calls exactly one of
// [Stream.Serve], [Stream.HandOver] and [Stream.Poll], and in any case [Stream.Close]; the
// states of a stream are in stream.go. [Engine.Emit], [Engine.Renew] and [Engine.Leave] are
// the other three things that clients do. [Engine.Drain] ends all streams, [Engine.Close]
// cuts what is left.
//
// # Concurrency
//
// Every method may be called from any goroutine. Locks are taken in this order, and each of
// them for a few instructions: nothing is written, logged, sent or waited for under one.
//
//	Hub.mu → Room.mu → loop.mu, kept.mu        (hub and wire)
//	Hub.mu → the backend's locks               (hub.Source is called with the hub locked)
//	Room.mu → Backend.Count → Table.mu         (the value of the user count, see Room.Update)
//	registry.mu, Stream.mu, rates.mu, keys.mu, Table.mu: nothing is taken under them
//
// # The other nodes
//
// They are a [Backend]. An engine without one has one that is alone, so that nobody asks.
//
// # Testing
//
// With Options.Writer set to [Portable] everything runs in a testing/synctest bubble; see the
// tests of internal/httpapi. The state machine and the limits have tests of their own here.
package engine
