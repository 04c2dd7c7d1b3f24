package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// All words that people read are in this file, but those of the doctor, which are in diagnosis.go. Each message is one line and begins with "client:"; one that tells of
// trouble also says what happens next or what to do.

// What the flags do, for -h. A word in back quotes names the value.
const (
	aboutRoom  = "name of the `ROOM`"
	aboutEvent = "print only the event `NAME`; may be repeated (default all)"
	aboutJSON  = "print one JSON object a line instead of words"
	aboutOnce  = "end after the first event"
	aboutToken = "the server's `TOKEN`, or one for the room"
	aboutLines = "emit each line of standard input as an event of its own"

	aboutPlot = "draw a live line chart of the user count on the terminal"

	aboutWatch = "print the events of a room as they happen"
	notesWatch = `
-json: {"event":…,"data":…,"id":…,"room":…}
Where no stream arrives it polls, as pages do; doctor says why.
`
	aboutEmit = "send an event to all in a room"
	notesEmit = `
DATA is JSON, else a string; "-" is standard input, without its last line end; none is null.
Other DATA than numbers that begins with a dash goes behind "--". Where DATA is left out, a URL needs a scheme or port.
Prints the id of the event once the server has accepted it; -json: {"id":…,"room":…}
An event without an answer is sent again, for 30 s, and never passed on twice (Idempotency-Key).
With -lines each line waits until the one before is accepted; the first that is refused ends it.
Exit status: 0 accepted, 1 refused or not answered, 2 a mistake on the command line, 130 ended before
the answer came; ctrl-C while there is nothing to be answered is 0.
`
)

// help is the answer to -h.
func help(all []command) string {
	var b strings.Builder
	b.WriteString("Usage: client [SUB-COMMAND] [URL] [FLAGS]\n\n")
	fmt.Fprintf(&b, "URL is the headcount server, %s if none is given.\n", defaultURL)
	b.WriteString("Output goes to standard output, everything else to standard error; ctrl-C ends.\n")
	for i, cmd := range all {
		fmt.Fprintf(&b, "\n%s %s: %s", cmd.name, cmd.args, cmd.about)
		if i == 0 {
			b.WriteString(" (the default)")
		}
		b.WriteString("\n")
		for line := range strings.Lines(strings.TrimPrefix(cmd.notes, "\n")) {
			b.WriteString("  " + line)
		}
		newFlags(&options{}).VisitAll(func(f *flag.Flag) {
			if !slices.Contains(cmd.flags, f.Name) {
				return
			}
			value, about := flag.UnquoteUsage(f)
			if f.DefValue != "" && f.DefValue != "false" {
				about += fmt.Sprintf(" (default %s)", f.DefValue)
			}
			env := envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			fmt.Fprintf(&b, "  %-13s  %s [%s]\n", strings.TrimSpace("-"+f.Name+" "+value), about, env)
		})
	}
	b.WriteString("\nThe variable in brackets stands for a flag that is not given. -version prints the version.\n")
	return b.String()
}

func titleOfPlot(room, server string, users, peak float64) string {
	now := "unknown"
	if !math.IsNaN(users) {
		now = strconv.Itoa(int(users))
	}
	return fmt.Sprintf("user count %s · peak %.0f · room %s at %s", now, peak, oneLine(room), oneLine(server))
}

// footOfPlot is the axis of time.
func footOfPlot(columns int, span time.Duration) string {
	begin, end := fmt.Sprintf("%.0f min ago", span.Minutes()), "now"
	if span < 2*time.Minute {
		begin = fmt.Sprintf("%.0f s ago", span.Seconds())
	}
	return begin + strings.Repeat(" ", max(1, columns-len(begin)-len(end))) + end
}

func statusOfPlot(message string) string {
	if message == "" {
		return "ctrl-C ends"
	}
	return "ctrl-C ends · " + oneLine(message)
}

func usageLine(err usageError) string {
	return "client: " + oneLine(err.Error()) + "; see client -h"
}

func errorLine(err error) string { return "client: " + oneLine(err.Error()) }

// console tells on standard error how the connection is doing. It repeats no reason: it speaks when something changes.
// It is for one goroutine.
type console struct {
	w      io.Writer
	server string
	reason string // why the connection is lost, as last told; empty while it stands
}

func (c *console) connecting(room string) {
	c.say("connecting to %s, room %s", c.server, oneLine(room))
}

// connected is told of each first event of a connection.
func (c *console) connected() {
	if c.reason != "" {
		c.say("connected again to %s", c.server)
	}
	c.reason = ""
}

// lost is told of each attempt that failed and each connection that broke.
func (c *console) lost(err error, wait time.Duration) {
	reason := reasonOf(err)
	if reason == c.reason {
		return
	}
	c.reason = reason
	c.say("no connection to %s: %s; reconnecting in %.1f s, and on until it works", c.server, reason, wait.Seconds())
}

// polling and streaming are told when the way changes.
func (c *console) polling() {
	c.say("streams do not arrive from %s; asking for events again and again instead", c.server)
}

func (c *console) streaming() { c.say("streams arrive from %s now", c.server) }

// notAccepted is told of each attempt to emit that failed and is made again.
func (c *console) notAccepted(err error) {
	reason := reasonOf(err)
	if reason == c.reason {
		return
	}
	c.reason = reason
	c.say("event not accepted by %s yet: %s; trying again for up to %.0f s", c.server, reason, emitTime.Seconds())
}

// accepted is told of each event that the server has accepted.
func (c *console) accepted() {
	if c.reason != "" {
		c.say("event accepted by %s now", c.server)
	}
	c.reason = ""
}

// interrupted is told when ctrl-C came while an event was on its way.
func (c *console) interrupted() {
	c.say("ended before %s said whether it accepted the event", c.server)
}

// Error says that an event found no answer until there was no more time.
func (e *unansweredError) Error() string {
	return fmt.Sprintf("event not accepted within %.0f s: %s; is the server up?", emitTime.Seconds(), reasonOf(e.error))
}

// whyRefused says what an answer says that is not the one hoped for; sentence is the server's own, if there is one.
func whyRefused(resp *http.Response, sentence string) string {
	why := "it answers " + resp.Status
	if sentence != "" {
		why += ": " + sentence
	}
	return why
}

// whyEmitRefused is whyRefused in the terms of this command.
func whyEmitRefused(resp *http.Response, sentence string) string {
	why := whyRefused(resp, sentence)
	if resp.StatusCode == http.StatusUnauthorized {
		why += "; here it goes into -token or " + envPrefix + "_TOKEN"
	}
	return why
}

func whyRedirected(resp *http.Response) string {
	return fmt.Sprintf("it answers %s and points to %q; give the URL that it points to",
		resp.Status, resp.Header.Get("Location"))
}

func whyNoAnswer(resp *http.Response) string {
	return fmt.Sprintf("it answers with %q without an id; is it a headcount server?",
		resp.Header.Get("Content-Type"))
}

// gap is told of the data of an io:gap.
func (c *console) gap(data []byte) {
	var gap struct{ Missed *int }
	switch err := json.Unmarshal(data, &gap); {
	case err != nil || gap.Missed == nil:
		c.say("events may be missing here: the server does not know how many")
	case *gap.Missed == 1:
		c.say("1 event is missing here")
	default:
		c.say("%d events are missing here", *gap.Missed)
	}
}

func (c *console) say(format string, args ...any) {
	fmt.Fprintf(c.w, "client: "+format+"\n", args...)
}

// reasonOf says in a few words why there is no connection. It leaves out what differs from one attempt to the next, such
// as port numbers, because a reason is told only once.
func reasonOf(err error) string {
	var (
		refused *refusedError
		dns     *net.DNSError
		cert    *x509.UnknownAuthorityError
		system  *os.SyscallError
		op      *net.OpError
	)
	switch {
	case errors.Is(err, errEnded):
		return "the stream ended"
	case errors.Is(err, errHeld):
		return "nothing of the stream arrives"
	case errors.Is(err, errSilent):
		return "nothing came for too long"
	case errors.As(err, &refused):
		return oneLine(refused.Error())
	case errors.As(err, &dns):
		return fmt.Sprintf("host %s not found", oneLine(dns.Name))
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "it answers without TLS; give a URL that begins with http://"
	case errors.As(err, &cert):
		return "its certificate is signed by nobody known here"
	case errors.As(err, &system):
		return system.Err.Error()
	case errors.As(err, &op):
		return oneLine(op.Err.Error())
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "the connection broke"
	}
	return oneLine(err.Error())
}

// oneLine keeps what others wrote from breaking out of its line or steering the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r <= 0x9f {
			return '\uFFFD'
		}
		return r
	}, s)
}
