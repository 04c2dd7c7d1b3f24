package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"headcount/client/emit"
	"headcount/client/remote"
	"headcount/internal/sse"
)

func emitCommand() command {
	return command{
		name:  "emit",
		args:  "[URL] EVENT [DATA]",
		flags: []string{"room", "token", "lines", "json"},
		run:   runEmit,
	}
}

// runEmit sends one event, or one for each line of standard input, and prints the id of each.
func runEmit(ctx context.Context, o *options, args []string, std streams) error {
	base, rest, err := cutURL(args)
	if err != nil {
		return err
	}
	given := strings.Join(append([]string{"emit"}, args[:len(args)-len(rest)]...), " ")
	args = rest
	switch last := len(args) - 1; {
	case len(args) == 0:
		return usageError{errors.New("emit needs the name of an EVENT")}
	case len(args) > 2 && given == "emit" && looksLikeURL(args[last]):
		return usageError{fmt.Errorf("the URL stands before the EVENT: emit %s %s '%s'", args[last], args[0], strings.Join(args[1:last], " "))}
	case len(args) > 2:
		return usageError{fmt.Errorf("emit takes one DATA, got %d; put quotes around DATA that has spaces: %s %s '%s'",
			last, given, args[0], strings.Join(args[1:], " "))}
	case o.lines && len(args) == 2 && args[1] != "-":
		return usageError{errors.New("-lines takes the DATA from standard input; leave DATA out, or give -")}
	}
	for _, err := range []error{sse.CheckName(args[0]), sse.CheckRoom(o.room), checkToken(o.token)} {
		if err != nil {
			return usageError{err}
		}
	}
	server := remote.New(base, o.token)
	defer server.Close()
	status := &console{w: std.err, server: server}
	emitter := &emit.Emitter{
		Server: server, Room: o.room, Event: args[0], JSON: o.json, Out: std.out,
		Retrying: status.retrying, Accepted: status.accepted, Quoted: status.quoted,
	}
	switch {
	case o.lines:
		err = emitter.Lines(ctx, std.in)
	case len(args) < 2:
		err = emitter.Text(ctx, []byte("null"))
	case args[1] == "-":
		err = emitter.All(ctx, std.in)
	default:
		if err = emitter.Text(ctx, []byte(args[1])); errors.Is(err, emit.ErrNotUTF8) {
			return usageError{err}
		}
	}
	switch {
	case errors.Is(err, emit.ErrInDoubt):
		status.say("ended before %s said whether it accepted the event", server)
		return statusError(statusInDoubt)
	case errors.Is(err, context.Canceled): // no event was in doubt
		return nil
	}
	return err
}

// cutURL removes the URL from the arguments, or returns the default URL. An optional URL must look like one, because an
// event may have the name build.done.
func cutURL(args []string) (*url.URL, []string, error) {
	maybe := len(args) > 0 && (looksLikeURL(args[0]) || len(args) == 3 && strings.ContainsAny(args[0], "./"))
	if !maybe {
		u, err := parseURL(defaultURL)
		return u, args, err
	}
	u, err := parseURL(args[0])
	return u, args[1:], err
}

func checkToken(token string) error {
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token has a space or another character that cannot go into a header")
	}
	return nil
}
