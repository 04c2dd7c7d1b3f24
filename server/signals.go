package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// notified returns a context that ends with the first stop signal, which starts the drain. A second SIGINT or SIGTERM
// ends the process at once. SIGHUP starts the drain too, for example when a terminal closes, unless it was ignored at
// the start, as nohup does. A second SIGHUP changes nothing, because a closing terminal may send two.
func notified(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	stopHangup := func() {}
	if !signal.Ignored(syscall.SIGHUP) {
		ctx, stopHangup = signal.NotifyContext(ctx, syscall.SIGHUP)
	}
	context.AfterFunc(ctx, stop)
	return ctx, func() { stopHangup(); stop() }
}

// ignoreBrokenPipes makes a write to a pipe without a reader fail. Without it the next line of the log would end the
// process, because Go exits on SIGPIPE for standard output and standard error.
func ignoreBrokenPipes() { signal.Ignore(syscall.SIGPIPE) }
