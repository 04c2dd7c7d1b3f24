// Command client is headcount on a terminal and for scripts. It shows a server's events, sends new ones, and finds out
// what the network does to event streams.
//
// This package reads the command line and writes messages. The work is done by the packages below: subscribe follows a
// room, emit sends events, doctor examines the connection to the server, plot draws. All of them reach the server by remote.
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

	"headcount/internal/version"
)

func main() {
	// Ignored, a write to a closed pipe is an error that run can turn into a quiet end instead of a death by signal.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}) }()

	select {
	case status := <-ended:
		os.Exit(status)
	case <-ctx.Done():
	}
	stop() // a second ctrl-C ends the process the hard way
	select {
	case status := <-ended:
		os.Exit(status)
	case <-time.After(leaveTime):
		os.Exit(statusOK) // a write to standard output hangs: nobody reads it
	}
}

// leaveTime is what a command gets to end after ctrl-C: enough for the goodbye to the server.
const leaveTime = time.Second

// Exit statuses.
const (
	statusOK      = 0
	statusFailed  = 1
	statusUsage   = 2
	statusPolling = 3 // doctor: streams do not work, polling does
	// emit, ended by ctrl-C or the like before the answer: 0 would say that the event is accepted. What shells make of SIGINT.
	statusInDoubt = 130
)

// statusError ends a command that has said all there was to say.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// command is what the first argument names.
type command struct {
	name  string
	args  string   // its arguments, for -h
	flags []string // the names of the flags it takes
	run   func(ctx context.Context, o *options, args []string, std streams) error
}

// commands returns all commands. The first one is meant when none is named.
func commands() []command {
	return []command{watchCommand(), emitCommand(), doctorCommand()}
}

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, std streams) int {
	all := commands()
	cmd, o, args, err := parse(all, args)
	if err == nil {
		err = cmd.run(ctx, o, args, std)
	}

	var usage usageError
	var status statusError
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE):
		return statusOK
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(std.out, help())
		return statusOK
	case errors.Is(err, errVersion):
		_, _ = fmt.Fprintln(std.out, version.String())
		return statusOK
	case errors.As(err, &usage):
		fmt.Fprintln(std.err, usageLine(usage))
		return statusUsage
	default:
		fmt.Fprintln(std.err, errorLine(err))
		return statusFailed
	}
}
