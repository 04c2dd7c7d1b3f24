package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"headcount/client/doctor"
	"headcount/internal/option"
)

// options holds the flags of all sub-commands.
type options struct {
	room   string
	events names
	json   bool
	once   bool
	plot   bool
	token  string
	lines  bool

	silence time.Duration
	version bool
}

// newFlags returns the flags of all sub-commands. They set the fields of o.
func newFlags(o *options) *flag.FlagSet {
	fs := flag.NewFlagSet("client", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed in one place and in one line
	fs.StringVar(&o.room, "room", "lobby", "name of the `ROOM`")
	fs.Var(&o.events, "event", "print only events called `NAME`; may be repeated")
	fs.Var((*option.OnOff)(&o.once), "once", "end after the first event")
	fs.Var((*option.OnOff)(&o.plot), "plot", "draw the user count as a live line chart")
	fs.Var((*option.OnOff)(&o.lines), "lines", "emit each line of standard input as an event of its own")
	fs.Var((*option.OnOff)(&o.json), "json", "print JSON")
	fs.StringVar(&o.token, "token", "", "bearer `TOKEN`: that of the server, or one for the room")
	fs.Var(option.Duration(&o.silence, 35*time.Second, time.Second, doctor.MaxSilence), "silence", "listen to silence for that `TIME`, 1s to 2m")
	fs.Var((*option.OnOff)(&o.version), "version", "")
	return fs
}

// errVersion means that the user asked for the version.
var errVersion = errors.New("version asked for")

// usageError is a mistake on the command line or in the environment. The exit status is 2.
type usageError struct{ error }

// parse returns the sub-command, its options and its arguments. Flags may stand before, between and behind the
// arguments. Environment variables set the flags that the command line does not set.
func parse(all []command, args []string) (command, *options, []string, error) {
	o := &options{}
	fs := newFlags(o)
	rest, err := parseMixed(fs, args)
	if err != nil {
		return command{}, nil, nil, err
	}
	if o.version {
		return command{}, nil, nil, errVersion
	}

	cmd := all[0]
	if len(rest) > 0 {
		if rest[0] == "help" {
			return command{}, nil, nil, flag.ErrHelp
		}
		if i := slices.IndexFunc(all, func(c command) bool { return c.name == rest[0] }); i >= 0 {
			cmd, rest = all[i], rest[1:]
		}
	}
	fs.Visit(func(f *flag.Flag) {
		if !slices.Contains(cmd.flags, f.Name) {
			err = usageError{fmt.Errorf("%s does not take -%s", cmd.name, f.Name)}
		}
	})
	if err != nil {
		return command{}, nil, nil, err
	}
	// All arguments are parsed. This call reads only the environment.
	if err := option.Parse(fs, nil); err != nil {
		return command{}, nil, nil, usageError{err}
	}
	return cmd, o, rest, nil
}

// parseMixed parses flags at any position and returns the other arguments. Package flag would stop at the first
// argument that is not a flag. Arguments after "--" are not flags.
func parseMixed(fs *flag.FlagSet, args []string) (others []string, err error) {
	for len(args) > 0 {
		// No flag looks like -5, so it is DATA.
		if _, err := strconv.ParseFloat(args[0], 64); err == nil {
			others, args = append(others, args[0]), args[1:]
			continue
		}
		if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, usageError{option.Explain(err)}
		}
		rest := fs.Args()
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			return append(others, rest...), nil
		}
		if len(rest) == 0 {
			break
		}
		others = append(others, rest[0])
		args = rest[1:]
	}
	return others, nil
}

// names is a flag that may be repeated.
type names []string

func (n *names) String() string { return strings.Join(*n, ", ") }

func (n *names) Set(s string) error {
	if s == "" {
		return errors.New("the name is empty")
	}
	*n = append(*n, s)
	return nil
}
