// Package hub knows what each room has to deliver and how far each subscriber is. It owns no socket, no goroutine and
// nothing that belongs to a single write.
//
// A [Room] has a history (events, each encoded once, bounded by number, age and bytes) and states (only the newest
// value of each). A subscriber is a [Sub]. It is a [Position] in the room and has no queue. What it still has to get is
// derived from that position. So nothing ever waits for a slow subscriber, and a slow subscriber holds no memory. It
// gets the newest state instead of a hundred old ones. A subscriber that fell behind the history gets an io:gap event.
//
// The events of a room have one order, and each published state has its place between two of them. Every subscriber
// gets both in that order. Only the states at the very start of a stream are a snapshot of the present. They come
// before any history that is replayed after them.
//
// A writer calls [Sub.Pending], writes the bytes it got, and reports with [Sub.Advance] how many bytes went out. A Sub
// is for one goroutine at a time. Hub and Room are safe for concurrent use. A writer learns of news from [Room.Changed]
// (a channel that is closed) or by [Room.Attach] (a function that is called). Neither may block the hub, and the hub
// never blocks on a subscriber.
//
// Everything here is deterministic except for the two times it reads and the timer of the throttling. Both come from
// package time, so tests run in a testing/synctest bubble.
package hub
