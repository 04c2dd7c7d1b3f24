// Package auth decides what a request may do: by tokens and patterns of rooms ([Policy]), by the
// origin of a page ([Origins]) and by the address of a client ([Address]). It is the only
// package that knows JWT. It writes no answer: what it refuses is an [Error].
//
// A Policy and a Key may be used by any goroutine, and are not to be changed.
//
// To test: everything is a function of the request and, for tokens that expire, of the time.
package auth
