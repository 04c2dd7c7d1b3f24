// Package admin serves the operators on a separate listener. It has the page /stats and its stream, metrics for
// Prometheus, and pprof. It is the only package that knows Prometheus.
//
// # Usage
//
// [NewMetrics] makes the [engine.Observer] for the engine. [New] makes an [Admin] from the metrics and the node.
// [Admin.Run] updates the numbers, and [Admin.Stop] ends the streams of watchers.
//
// # Concurrency
//
// Everything may be used from any goroutine.
//
// # Testing
//
// The tests run in a testing/synctest bubble. test/deploy tests the metrics with Prometheus.
package admin
