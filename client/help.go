package main

import (
	"flag"
	"fmt"
	"strings"

	"headcount/internal/option"
)

// helpText is the answer to -h. A line that begins with a dash and the name of an option gets its text from the option.
const helpText = `Watch and send the events of a headcount server.

Usage:
  client watch [URL] [OPTIONS]              print the events of a room as they happen; "watch" may be left out
  client emit [URL] EVENT [DATA] [OPTIONS]  send an event to everyone in a room
  client doctor [URL] [OPTIONS]             find out what the network does to event streams, and what to do about it

URL is the server, http://localhost:8080 by default. Options may stand anywhere.

All commands:
-json
-version

Watch a room:
-room
-event
-once
-plot
-token
  Events go to standard output, messages to standard error. Ctrl-C ends.
  With -json each line is {"event":…,"data":…,"id":…,"room":…}.
  The client reconnects by itself, and polls where streams do not arrive. It ends with status 1
  where waiting cannot help: the server refuses, the host name does not exist, or one side speaks
  TLS and the other does not.

Send events:
-room
-token
-lines
  DATA is JSON, or else a string. "-" reads it from standard input. Without DATA it is null.
  Quote DATA that has spaces. Put "--" before DATA that begins with a dash and is not a number.
  The id of each event is printed once the server has accepted it; with -json {"id":…,"room":…}.
  If there is no answer, the event is retried for 30 s, and delivered only once (Idempotency-Key).
  Exit status: 0 accepted, 1 refused or not answered, 2 a mistake on the command line,
  130 interrupted before the answer.

Examine the network:
-silence
  The check takes slightly longer than -silence. Each line is one finding: OK, LATE, HELD (arrives
  only when it is complete), CUT, CHANGED, BLOCKED, UNSEEN (by the server), FAILED or UNKNOWN. Then
  comes what to do. -json: {"url":…,"streams":…,"polling":…,"findings":[…],"exit":…,"diagnosis":…}
  Exit status: 0 streams work, 3 only polling works, 1 nothing works, 2 a mistake on the command line.

Options default to the variable in brackets.
`

func help() string {
	flags := newFlags(&options{})
	var b strings.Builder
	for line := range strings.Lines(helpText) {
		name, isFlag := strings.CutPrefix(strings.TrimSpace(line), "-")
		f := flags.Lookup(name)
		if !isFlag || f == nil || strings.HasPrefix(line, " ") {
			b.WriteString(line)
			continue
		}
		value, about := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" {
			about += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		if name == "version" {
			fmt.Fprintf(&b, "  %-14s print the version\n", "-version")
			continue
		}
		fmt.Fprintf(&b, "  %-14s %s [%s]\n", strings.TrimSpace("-"+name+" "+value), about, option.Variable(name))
	}
	return b.String()
}
