// Package engine manages the life of a stream. It admits a subscriber, counts its user, connects it to a writer that
// delivers the room's events, renews its lease, ends it, and releases what it held. A poll is a stream with one
// response. The package knows no routes and no HTTP status. It refuses a request with a [Refusal].
//
// # Usage
//
// [New] makes an [Engine]. [Engine.Run] must run for as long as users are counted. [Engine.Subscribe] admits a
// subscriber and returns its [Stream]. The caller calls exactly one of [Stream.Serve], [Stream.HandOver] and
// [Stream.Poll], and in any case [Stream.Close]. stream.go lists the states of a stream. Clients can also emit, renew
// and leave, which are [Engine.Emit], [Engine.Renew] and [Engine.Leave]. [Engine.Drain] ends all streams, and
// [Engine.Close] cuts the rest.
//
// # Concurrency
//
// Every method may be called from any goroutine. Package lockorder has the order of all locks, and checks it with the
// build tag lockorder. [Engine.Freeze] waits for the calls in progress, and holds up new ones.
//
// # Other nodes
//
// A [Backend] makes this process a [Node] among others. An engine without one is a node that is alone, so the code never
// checks for nil. Calls go down only. The engine takes what other nodes changed from [Membership.Next].
//
// # Testing
//
// With Options.Writer set to [Portable] everything runs in a testing/synctest bubble. See the tests of
// internal/httpapi. The state machine and the limits have tests in this package.
package engine
