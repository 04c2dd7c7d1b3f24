// Package hub knows what each room has to tell and how far each reader is. It
// owns no socket, no goroutine and nothing that belongs to a single write.
//
// A [Room] has a history (events, each encoded once, kept by number, age and
// bytes) and states (of each only the newest value). A reader is a [Sub]: a
// [Position] in the room and no queue. What it still has to get is derived from
// that position, so nobody ever waits for a slow reader, a slow reader holds
// nothing, it gets the newest state instead of a hundred old ones, and one that
// fell behind the history is told so by an io:gap event.
//
// Order: the events of a room have one order, and each published state its place
// between two of them; every reader gets both in that order. Only the states at
// the very start of a stream are a picture of now, ahead of any history replayed
// behind them.
//
// Use: whoever writes to a reader calls [Sub.Pending], writes the bytes it got,
// and says with [Sub.Advance] how many went. A Sub is for one goroutine at a time;
// Hub and Room are for any. A writer learns of news from [Room.Changed] (a channel
// that is closed) or by [Room.Attach] (a function that is called); neither may
// block the hub, and the hub never blocks on a reader.
//
// To test: everything here is deterministic but for the two times it reads and the
// timer of the pacing, which are package time's: run it in a testing/synctest
// bubble.
package hub
