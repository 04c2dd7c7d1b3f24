package main

import (
	"context"
	"fmt"

	"headcount/client/doctor"
	"headcount/client/remote"
)

func doctorCommand() command {
	return command{
		name:  "doctor",
		args:  "[URL]",
		flags: []string{"json", "silence"},
		run:   runDoctor,
	}
}

// runDoctor examines the connection to a server and prints a report.
func runDoctor(ctx context.Context, o *options, args []string, std streams) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("doctor takes one URL, got %d arguments", len(args))}
	}
	base, err := parseURL(append(args, defaultURL)[0])
	if err != nil {
		return err
	}
	exit := func(outcome doctor.Outcome) int {
		switch outcome {
		case doctor.StreamsWork:
			return statusOK
		case doctor.OnlyPolling:
			return statusPolling
		}
		return statusFailed
	}
	outcome, err := doctor.Run(ctx, doctor.Options{
		Server: remote.New(base, ""), Silence: o.silence, JSON: o.json, Out: std.out, Console: std.err, Exit: exit,
	})
	if err == nil && exit(outcome) != statusOK {
		return statusError(exit(outcome))
	}
	return err
}
