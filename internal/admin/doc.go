// Package admin is what operators look at, on a listener of its own: the page of /stats and its
// stream, metrics for Prometheus, and pprof. It is the only package that knows Prometheus.
//
// # Usage
//
// [NewMetrics] makes the [engine.Observer] that the engine is given; [New] makes an [Admin] of it
// and of the node that it shows. [Admin.Run] keeps the numbers moving, and [Admin.Stop] ends the
// streams of those who watch.
//
// # Concurrency
//
// Everything may be used by any goroutine.
//
// # Testing
//
// The tests run it in a testing/synctest bubble; what Prometheus reads is tested in test/deploy.
package admin
