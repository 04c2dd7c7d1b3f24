package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const envPrefix = "HEADCOUNT"

// variable returns the name of an option's environment variable.
func variable(f *flag.Flag) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// emptyMeans are the options that have a default and can be set to an empty value.
var emptyMeans = [...]string{"admin", "trusted-proxies"}

// readEnvironment adds to ff. It sets options from empty variables, refuses quoted values, and returns the names of
// variables that match no option.
func readEnvironment(fs *flag.FlagSet) (unknown []string, err error) {
	for _, name := range emptyMeans {
		if value, ok := os.LookupEnv(variable(fs.Lookup(name))); ok && value == "" {
			if err := fs.Set(name, ""); err != nil {
				return nil, fmt.Errorf("option -%s: %w", name, err)
			}
		}
	}
	known := make(map[string]bool)
	fs.VisitAll(func(f *flag.Flag) {
		known[variable(f)] = true
		if err == nil && inQuotes(os.Getenv(variable(f))) {
			err = fmt.Errorf("%s has quotes around its value; remove them, because docker --env-file passes them on", variable(f))
		}
	})
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !known[name] && !ofKubernetes.MatchString(name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown, err
}

// ofKubernetes matches the variables that Kubernetes sets in every container for a service named headcount.
var ofKubernetes = regexp.MustCompile(`^` + envPrefix + `(_\w+)?_(SERVICE_HOST|SERVICE_PORT|PORT)(_\w+)?$`)

func inQuotes(s string) bool {
	return len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0]
}

// ranged is the value of an option that has a minimum and a maximum.
type ranged[T int | time.Duration] struct {
	value    *T
	min, max T
	zero     bool // 0 is allowed as well
	parse    func(string) (T, error)
	print    func(T) string
	hint     string // what to write instead
}

func duration(value *time.Duration, first, least, most time.Duration) *ranged[time.Duration] {
	*value = first
	short := strings.NewReplacer("h0m0s", "h", "m0s", "m") // 10m0s
	return &ranged[time.Duration]{
		value: value, min: least, max: most, parse: time.ParseDuration,
		print: func(d time.Duration) string {
			if d == 0 {
				return "0"
			}
			return short.Replace(d.String())
		},
		hint: "a number and a unit, such as 5s",
	}
}

func number(value *int, first, least, most int) *ranged[int] {
	*value = first
	return &ranged[int]{value: value, min: least, max: most, parse: strconv.Atoi, print: strconv.Itoa, hint: "a whole number"}
}

func (r *ranged[T]) orZero() *ranged[T] {
	r.zero = true
	return r
}

// Set implements flag.Value.
func (r *ranged[T]) Set(text string) error {
	n, err := r.parse(text)
	if err != nil {
		return fmt.Errorf("give %s", r.hint)
	}
	if (n < r.min || n > r.max) && !(r.zero && n == 0) {
		return fmt.Errorf("out of range; give %s to %s", r.print(r.min), r.print(r.max))
	}
	*r.value = n
	return nil
}

func (r *ranged[T]) String() string { return r.print(*r.value) }

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

// onOff is the value of an option that its name alone switches on.
type onOff bool

// Set implements flag.Value.
func (o *onOff) Set(text string) error {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return errors.New("give true or false")
	}
	*o = onOff(on)
	return nil
}

func (o *onOff) String() string { return strconv.FormatBool(bool(*o)) }

// IsBoolFlag tells package flag that the option needs no value.
func (*onOff) IsBoolFlag() bool { return true }

// plain removes the prefix that ff adds to an error, and adds advice.
func plain(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil || !strings.HasPrefix(err.Error(), "error ") {
			return fmt.Errorf("%w; -h lists the options", err)
		}
		if name, ok := strings.CutPrefix(err.Error(), "error setting flag "); ok {
			return fmt.Errorf("option %w; -h lists the options", errors.New(name))
		}
		err = inner
	}
}

// group is a task and the options for it.
type group struct {
	title   string
	options []string
}

// optionGroups returns all options in the order of -h and README.md.
func optionGroups() []group {
	return []group{
		{"Serve", []string{"addr", "path", "tls-cert", "tls-key", "http2", "h2c", "origins", "trusted-proxies"}},
		{"Emit and private rooms", []string{"token", "key", "private", "max-event"}},
		{"Count", []string{"heartbeat", "linger", "max-age"}},
		{"History", []string{"history", "history-age"}},
		{"Limits", []string{"max-streams", "max-streams-per-ip", "max-stream-rate"}},
		{"Several nodes", []string{"nats", "nats-prefix"}},
		{"Stop and restart", []string{"drain", "state"}},
		{"Operate", []string{"admin", "log", "log-level", "health", "version"}},
		{"Develop", []string{"dev", "writer"}},
	}
}

// help prints every option with its default and its environment variable.
func help(fs *flag.FlagSet, w io.Writer) error {
	var text strings.Builder
	text.WriteString("Usage: server [options]\n\n" +
		"A live user counter and event broadcaster over plain HTTP (Server-Sent Events).\n\n" +
		"Every option has an environment variable, which the option overrides.\n")
	for _, g := range optionGroups() {
		fmt.Fprintf(&text, "\n%s:\n", g.title)
		for _, name := range g.options {
			f := fs.Lookup(name)
			kind, usage := flag.UnquoteUsage(f)
			fmt.Fprintf(&text, "  %s\n      %s\n      default %s, environment %s\n",
				strings.TrimSpace("-"+name+" "+kind), usage, defaultOf(f), variable(f))
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
