package main

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"headcount/client/remote"
	"headcount/client/subscribe"
)

// The same problem is reported once, and so is its end.
func TestConsole(t *testing.T) {
	var out strings.Builder
	base, err := url.Parse("http://name:secret@headcount.test")
	if err != nil {
		t.Fatal(err)
	}
	c := &console{w: &out, server: remote.New(base, ""), room: "a\nb"}
	lost := func(err error) subscribe.Change {
		return subscribe.Change{Kind: subscribe.Lost, Err: err, Wait: 1500 * time.Millisecond}
	}
	full := &remote.Refusal{Why: "it answers 503 Service Unavailable: come back later\x1b"}
	for _, change := range []subscribe.Change{
		{Kind: subscribe.Connecting}, {Kind: subscribe.Connected}, lost(remote.ErrEnded), lost(full), lost(full), {Kind: subscribe.Connected},
		{Kind: subscribe.Connected}, lost(full), {Kind: subscribe.Polling}, {Kind: subscribe.Streaming},
		{Kind: subscribe.Missing, Missed: -1}, {Kind: subscribe.Missing, Missed: 1}, {Kind: subscribe.Missing, Missed: 3},
	} {
		c.notify(change)
	}
	const want = `client: connecting to http://name:xxxxx@headcount.test, room a�b
client: no connection to http://name:xxxxx@headcount.test: the stream ended; retrying in 1.5 s and until it works
client: no connection to http://name:xxxxx@headcount.test: it answers 503 Service Unavailable: come back later�; retrying in 1.5 s and until it works
client: connected again to http://name:xxxxx@headcount.test
client: no connection to http://name:xxxxx@headcount.test: it answers 503 Service Unavailable: come back later�; retrying in 1.5 s and until it works
client: streams do not arrive from http://name:xxxxx@headcount.test; polling instead
client: streams arrive from http://name:xxxxx@headcount.test again; polling no more
client: events may be missing here; the server does not know how many
client: 1 event is missing here
client: 3 events are missing here
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}

	out.Reset()
	c.reason = ""
	for range 2 {
		c.retrying(errors.New("connection refused"))
	}
	c.accepted()
	c.accepted()
	if got := out.String(); strings.Count(got, "trying again for up to 30 s") != 1 || strings.Count(got, "accepted by http://name:xxxxx@headcount.test now") != 1 {
		t.Errorf("got %q, want one line that it tries again, and one that the event is accepted", got)
	}
}
