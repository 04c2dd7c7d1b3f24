package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"headcount/client/emit"
	"headcount/client/remote"
	"headcount/client/subscribe"
	"headcount/client/terminal"
	"headcount/internal/option"
)

// This file has all messages on standard error. Each message is one line and begins with "client:". A message about a
// problem also says what happens next or what to do.

// console reports the state of the connection. It prints only changes and never repeats a reason. Use it from one
// goroutine.
type console struct {
	w      io.Writer
	server *remote.Server
	room   string
	reason string // the reason printed last; empty without a problem
}

// notify reports a change of a subscription.
func (c *console) notify(change subscribe.Change) {
	switch change.Kind {
	case subscribe.Connecting:
		c.say("connecting to %s, room %s", c.server, terminal.OneLine(c.room))
	case subscribe.Connected:
		if c.reason != "" {
			c.say("connected again to %s", c.server)
		}
		c.reason = ""
	case subscribe.Lost:
		if c.isNew(change.Err) {
			c.say("no connection to %s: %s; retrying in %.1f s and until it works", c.server, c.reason, change.Wait.Seconds())
		}
	case subscribe.Polling:
		c.say("streams do not arrive from %s; polling instead", c.server)
	case subscribe.Streaming:
		c.say("streams arrive from %s again; polling no more", c.server)
	case subscribe.Missing:
		switch change.Missed {
		case -1:
			c.say("events may be missing here; the server does not know how many")
		case 1:
			c.say("1 event is missing here")
		default:
			c.say("%d events are missing here", change.Missed)
		}
	}
}

// retrying reports a failed attempt to emit that is repeated.
func (c *console) retrying(err error) {
	if c.isNew(err) {
		c.say("event not accepted by %s yet: %s; trying again for up to %.0f s", c.server, c.reason, emit.Limit.Seconds())
	}
}

// accepted reports that the server has accepted an event after a problem.
func (c *console) accepted() {
	if c.reason != "" {
		c.say("event accepted by %s now", c.server)
	}
	c.reason = ""
}

// quoted reports data that looks like JSON but is not valid.
func (c *console) quoted(err error) {
	c.say("the data is not JSON (%s), so it is sent as a string", terminal.OneLine(err.Error()))
}

// isNew stores a reason and reports whether it differs from the last one.
func (c *console) isNew(err error) bool {
	before := c.reason
	c.reason = remote.Reason(err)
	return c.reason != before
}

func (c *console) say(format string, args ...any) {
	fmt.Fprintf(c.w, "client: "+format+"\n", args...)
}

// hopeless returns the error of a subscription that ended because a retry cannot help.
func (c *console) hopeless(err error) error {
	var refusal *remote.Refusal
	hint := ""
	if errors.As(err, &refusal) && refusal.Status == 401 {
		hint = " (-token or " + option.Variable("token") + ")"
	}
	return fmt.Errorf("cannot watch %s: %s%s", c.server, remote.Reason(err), hint)
}

// unknownLine reports environment variables that look like options and are none.
func unknownLine(names []string) string {
	return "client: unknown in the environment: " + terminal.OneLine(strings.Join(names, ", ")) + "; see client -h"
}

func usageLine(err usageError) string {
	return "client: " + terminal.OneLine(err.Error()) + "; see client -h"
}

func errorLine(err error) string { return "client: " + terminal.OneLine(err.Error()) }
