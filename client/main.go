// Command client shows a headcount server's events on a terminal or to a script.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	// Ignored, a write to a closed pipe is an error that run can turn into a quiet end instead of a death by signal.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, os.Args[1:], os.Stdout, os.Stderr) }()

	select {
	case status := <-ended:
		os.Exit(status)
	case <-ctx.Done():
	}
	stop() // a second ctrl-C ends the process the hard way
	select {
	case status := <-ended:
		os.Exit(status)
	case <-time.After(2 * leaveTime):
		os.Exit(statusOK) // a write to standard output hangs: nobody reads it
	}
}

// Exit statuses.
const (
	statusOK     = 0
	statusFailed = 1
	statusUsage  = 2
)

// command is one sub-command.
type command struct {
	name  string
	about string   // one line for -h
	flags []string // the names of the flags it takes
	run   func(ctx context.Context, o *options, args []string, stdout, stderr io.Writer) error
}

// commands returns all sub-commands; the first one is meant when none is named.
func commands() []command {
	return []command{watchCommand()}
}

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	all := commands()
	cmd, o, args, err := parse(all, args)
	if err == nil {
		err = cmd.run(ctx, o, args, stdout, stderr)
	}

	var usage usageError
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE):
		return statusOK
	case errors.Is(err, flag.ErrHelp):
		io.WriteString(stdout, help(all))
		return statusOK
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, usageLine(usage))
		return statusUsage
	default:
		fmt.Fprintln(stderr, errorLine(err))
		return statusFailed
	}
}
