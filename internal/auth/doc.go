// Package auth decides what a request may do. It checks tokens and room patterns ([Policy]), the origin of a page
// ([Origins]) and the address of a client ([Address]). It is the only package that knows JWT. It writes no response. It
// refuses a request with an [Error].
//
// A Policy and a Key may be used from any goroutine and must not be changed.
//
// All results depend only on the request and, for tokens that expire, on the time.
package auth
