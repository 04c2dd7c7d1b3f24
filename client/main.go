// Command client is headcount for terminals and scripts. It shows a server's events, sends new ones, and finds out what
// the network does to event streams.
//
// This package parses the command line and writes messages. Package subscribe follows a room, emit sends events, doctor
// examines the connection to the server, and plot draws. All of them use package remote to reach the server.
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

	"headcount/internal/option"
	"headcount/internal/version"
)

func main() {
	// With SIGPIPE ignored, a write to a closed pipe returns an error and run ends without a message.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}) }()

	select {
	case status := <-ended:
		os.Exit(status)
	case <-ctx.Done():
	}
	stop() // a second ctrl-C ends the process at once
	select {
	case status := <-ended:
		os.Exit(status)
	case <-time.After(leaveTime):
		os.Exit(statusOK) // a write to standard output hangs because nobody reads it
	}
}

// leaveTime is how long a command has to end after ctrl-C. It is enough for the goodbye to the server.
const leaveTime = time.Second

// Exit statuses.
const (
	statusOK      = 0
	statusFailed  = 1
	statusUsage   = 2
	statusPolling = 3 // doctor: streams do not work, but polling does
	// emit was ended by ctrl-C or another signal before the answer. 0 would mean that the event is accepted. 130 is the
	// status that shells use for SIGINT.
	statusInDoubt = 130
)

// statusError ends a command that has already printed its messages.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// streams are the standard streams of a command.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// command is a sub-command.
type command struct {
	name  string
	args  string   // its arguments, for -h
	flags []string // the names of the flags it takes
	run   func(ctx context.Context, o *options, args []string, std streams) error
}

// commands returns all commands. The first one is the default.
func commands() []command {
	return []command{watchCommand(), emitCommand(), doctorCommand()}
}

// run is the whole program. It returns the exit status.
func run(ctx context.Context, args []string, std streams) int {
	all := commands()
	cmd, o, args, err := parse(all, args)
	if err == nil {
		if unknown := option.Unknown(); len(unknown) > 0 {
			fmt.Fprintln(std.err, unknownLine(unknown))
		}
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
