package main

import (
	"context"
	"flag"
	"slices"
	"strings"
	"testing"

	"headcount/internal/option"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		args string
		want options
		rest []string
	}{
		{"nothing", "", options{room: "lobby"}, nil},
		{"URL alone", "localhost:1", options{room: "lobby"}, []string{"localhost:1"}},
		{"flags before", "-json -room x watch u:1", options{room: "x", json: true}, []string{"u:1"}},
		{"flags behind", "watch u:1 -json -room x", options{room: "x", json: true}, []string{"u:1"}},
		{"flags between", "-once watch -room=x u:1 --json", options{room: "x", json: true, once: true}, []string{"u:1"}},
		{"no sub-command", "u:1 -event a -event b", options{room: "lobby", events: names{"a", "b"}}, []string{"u:1"}},
		{"a room called watch", "-room watch", options{room: "watch"}, nil},
		{"a number below zero", "u:1 -5 -1e3 -json", options{room: "lobby", json: true}, []string{"u:1", "-5", "-1e3"}},
		{"a number below zero as a value", "-room -5 u:1", options{room: "-5"}, []string{"u:1"}},
		{"end of flags", "-once -- -json", options{room: "lobby", once: true}, []string{"-json"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd, o, rest, err := parse(commands(), strings.Fields(tt.args))
			if err != nil {
				t.Fatal(err)
			}
			if cmd.name != "watch" || o.room != tt.want.room || o.json != tt.want.json || o.once != tt.want.once ||
				!slices.Equal(o.events, tt.want.events) || !slices.Equal(rest, tt.rest) {
				t.Errorf("got %s %+v %q, want watch %+v %q", cmd.name, *o, rest, tt.want, tt.rest)
			}
		})
	}
}

func TestParseEnvironment(t *testing.T) {
	t.Setenv("HEADCOUNT_ROOM", "from environment")
	t.Setenv("HEADCOUNT_ONCE", "true")
	_, o, _, err := parse(commands(), []string{"-room", "from flag"})
	if err != nil {
		t.Fatal(err)
	}
	if o.room != "from flag" || !o.once {
		t.Errorf("got room %q, once %v; want the flag's room and the environment's once", o.room, o.once)
	}
}

func TestParseURL(t *testing.T) {
	tests := []struct{ in, want string }{
		{"http://localhost:8080", "http://localhost:8080/events"},
		{"http://localhost:8080/", "http://localhost:8080/events"},
		{"http://localhost:8080/events", "http://localhost:8080/events"},
		{"https://example.org/sub/path/", "https://example.org/sub/path/events"},
		{"localhost", "http://localhost/events"},
		{"localhost:8080", "http://localhost:8080/events"},
		{"[::1]:8080", "http://[::1]:8080/events"},
		{"example.org", "http://example.org/events"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			u, err := parseURL(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := u.JoinPath("events").String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// Every mistake gives one line on standard error that describes it, and exit status 2.
func TestMistakes(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"unknown option", []string{"-draw"}, "client: there is no option -draw; see client -h"},
		{"option without value", []string{"-room"}, "client: -room needs a value; see client -h"},
		{"value of a switch", []string{"-once=maybe"}, `invalid value "maybe" for -once: give true or false`},
		{"empty room", []string{"-room", ""}, "room is empty"},
		{"room with a line end", []string{"-room", "a\nb"}, "control character"},
		{"long room", []string{"-room", strings.Repeat("x", 129)}, "129 bytes"},
		{"empty event", []string{"-event", ""}, "empty"},
		{"unknown sub-command", []string{"wacth"}, "wacth"},
		{"two URLs", []string{"localhost:1", "localhost:2"}, "one URL"},
		{"scheme", []string{"ws://localhost:1"}, "ws"},
		{"no host", []string{"http://:80"}, "no host"},
		{"bad port", []string{"http://localhost:port"}, `URL "http://localhost:port" has a port that is not a number; ports are 1 to 65535`},
		{"bad address", []string{"http://[::1"}, `URL "http://[::1" is not valid (missing ']' in host); give one such as`},
		{"port that is none", []string{"localhost:99999"}, "1 to 65535"},
		{"port zero", []string{"emit", "localhost:0", "news"}, "1 to 65535"},
		{"query", []string{"http://localhost:1/?room=x"}, "-room"},
		{"emit without event", []string{"emit"}, "EVENT"},
		{"emit without event behind a URL", []string{"emit", "localhost:1"}, "EVENT"},
		{"emit of too much", []string{"emit", "localhost:1", "a", "b", "c"}, "one DATA, got 2; put quotes around DATA that has spaces: emit localhost:1 a 'b c'"},
		{"emit with the URL last", []string{"emit", "news", "hi", "-token", "t", "http://a.test"}, "the URL stands before the EVENT: emit http://a.test news 'hi'"},
		{"emit of data without quotes", []string{"emit", "news", "hi", "there"}, "quotes around DATA that has spaces: emit news 'hi there'"},
		{"emit of the server's own", []string{"emit", "user count", "5"}, "server's own"},
		{"emit to no room", []string{"emit", "-room", "", "news"}, "room is empty"},
		{"emit of two inputs", []string{"emit", "-lines", "news", "x"}, "standard input"},
		{"emit of bytes", []string{"emit", "news", "\xff"}, "UTF-8"},
		{"token with a line end", []string{"emit", "-token", "a\nb", "news"}, "token"},
		{"plot on no terminal", []string{"-plot", "localhost:1"}, "terminal"},
		{"plot of other events", []string{"-plot", "-event", "news", "localhost:1"}, "-event"},
		{"doctor of two", []string{"doctor", "localhost:1", "localhost:2"}, "one URL"},
		{"short silence", []string{"doctor", "-silence", "10ms"}, "1s to 2m"},
		{"silence without a unit", []string{"doctor", "-silence", "5"}, `invalid value "5" for -silence: give a number and a unit, such as 5s`},
		{"flag of another sub-command", []string{"emit", "-once", "news"}, "emit does not take -once"},
		{"terminal codes", []string{"\x1b[31m"}, "neither"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			status := run(context.Background(), tt.args, streams{strings.NewReader(""), &stdout, &stderr})
			line := stderr.String()
			if status != statusUsage || stdout.Len() > 0 || strings.Count(line, "\n") != 1 ||
				!strings.Contains(line, tt.want) || strings.Contains(line, "\x1b") {
				t.Errorf("got status %d, output %q, error %q; want status 2, no output, one line with %q",
					status, stdout.String(), line, tt.want)
			}
		})
	}
}

// The variables of the server are not unknown, because both commands may share an environment.
func TestUnknownVariables(t *testing.T) {
	t.Setenv("HEADCOUNT_ADDR", ":8080")
	t.Setenv("HEADCOUNT_ROMM", "x")
	t.Setenv("HEADCOUNT_EVNT", "x")
	var stdout, stderr strings.Builder
	run(context.Background(), []string{"emit"}, streams{strings.NewReader(""), &stdout, &stderr})
	first, _, _ := strings.Cut(stderr.String(), "\n")
	if want := "client: unknown in the environment: HEADCOUNT_EVNT, HEADCOUNT_ROMM; see client -h"; first != want {
		t.Errorf("got %q, want %q", first, want)
	}
}

// The list that the server uses too has all options.
func TestOptionNames(t *testing.T) {
	var got []string
	newFlags(&options{}).VisitAll(func(f *flag.Flag) { got = append(got, f.Name) })
	if want := slices.Sorted(slices.Values(option.OfClient())); !slices.Equal(got, want) {
		t.Errorf("got the options %q, package option has %q", got, want)
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr strings.Builder
	if status := run(context.Background(), []string{"watch", "-h"}, streams{strings.NewReader(""), &stdout, &stderr}); status != statusOK || stderr.Len() > 0 {
		t.Errorf("got status %d, standard error %q; want 0 and none", status, stderr.String())
	}
	for _, want := range []string{"-room", "-event", "-json", "-once", "HEADCOUNT_ROOM", "default lobby", defaultURL} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, stdout.String())
		}
	}
}

func TestCutURL(t *testing.T) {
	tests := []struct{ name, args, url, rest string }{
		{"event alone", "news", defaultURL, "news"},
		{"event and data", "news hi", defaultURL, "news hi"},
		{"dots are no URL", "build.done 1", defaultURL, "build.done 1"},
		{"scheme", "https://example.org news", "https://example.org", "news"},
		{"port", "example.org:80 news", "http://example.org:80", "news"},
		{"port and path", "[::1]:80/events news", "http://[::1]:80", "news"},
		{"localhost", "localhost news", "http://localhost", "news"},
		{"three are clear", "example.org news hi", "http://example.org", "news hi"},
		{"data with spaces", "news hi there", defaultURL, "news hi there"},
		{"data with a port", "news example.org:80", defaultURL, "news example.org:80"},
		{"URL alone", "localhost:80", "http://localhost:80", ""},
		{"nothing", "", defaultURL, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, rest, err := cutURL(strings.Fields(tt.args))
			if err != nil || u.String() != tt.url || strings.Join(rest, " ") != tt.rest {
				t.Errorf("got %v, %q, %v; want %s, %q", u, rest, err, tt.url, tt.rest)
			}
		})
	}
}
