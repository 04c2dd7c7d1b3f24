// Package load is the one load generator that every server of the benchmark meets.
//
// A Generator is one thread around one epoll set. It opens streams, reads what arrives on them, closes them and
// measures; it speaks just enough HTTP/1.1, Server-Sent Events, WebSocket and Engine.IO to know which event arrived
// and when. It runs in a process of its own ([Serve]), is told what to do in lines of JSON over a pipe, and answers in
// lines of JSON ([Client] is the other end). It sends to 127.0.0.0/8 only.
//
// A measured event carries the moment it was sent and its number in its data:
//
//	{"t":8123456789012,"n":17,"pad":"…"}
//
// t is nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share, so latency is a subtraction.
package load
