package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"headcount/internal/option"
)

// emptyMeans are the options that have a default and can be set to an empty value.
var emptyMeans = [...]string{"admin", "trusted-proxies"}

// readEnvironment adds to package option. It sets options from empty variables, and refuses quoted values.
func readEnvironment(fs *flag.FlagSet) (err error) {
	for _, name := range emptyMeans {
		if value, ok := os.LookupEnv(option.Variable(name)); ok && value == "" {
			if err := fs.Set(name, ""); err != nil {
				return fmt.Errorf("option -%s: %w", name, err)
			}
		}
	}
	fs.VisitAll(func(f *flag.Flag) {
		if name := option.Variable(f.Name); err == nil && inQuotes(os.Getenv(name)) {
			err = fmt.Errorf("%s has quotes around its value; remove them, because docker --env-file passes them on", name)
		}
	})
	return err
}

func inQuotes(s string) bool {
	return len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0]
}

// level is the value of an option that is a level of the log.
type level slog.Level

// Set implements flag.Value.
func (l *level) Set(text string) error {
	if err := (*slog.Level)(l).UnmarshalText([]byte(text)); err != nil {
		return errors.New("give debug, info, warn or error")
	}
	return nil
}

func (l *level) String() string { return strings.ToLower(slog.Level(*l).String()) }

// help prints every option with its default and its environment variable.
func help(fs *flag.FlagSet, w io.Writer) error {
	var text strings.Builder
	text.WriteString("Usage: server [options]\n\n" +
		"A live user counter and event broadcaster over plain HTTP (Server-Sent Events).\n\n" +
		"Each option can also be set by an environment variable; the command line wins.\n")
	for _, g := range option.OfServer() {
		fmt.Fprintf(&text, "\n%s:\n", g.Title)
		for _, name := range g.Options {
			f := fs.Lookup(name)
			kind, usage := flag.UnquoteUsage(f)
			fmt.Fprintf(&text, "  %s\n      %s\n      default %s, environment %s\n",
				strings.TrimSpace("-"+name+" "+kind), usage, defaultOf(f), option.Variable(name))
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func defaultOf(f *flag.Flag) string {
	switch f.DefValue {
	case "":
		return "none"
	case "false":
		return "off"
	case "true":
		return "on"
	}
	return f.DefValue
}
