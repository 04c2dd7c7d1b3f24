package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
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

// emptyMeans are the options whose default is not empty, and for which empty means something.
var emptyMeans = [...]string{"admin", "trusted-proxies"}

// readEnvironment does what ff does not. It sets the options that an empty variable sets, refuses values in quotes, and
// returns the names of variables that are no options.
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
			err = fmt.Errorf("%s is in quotes, which docker --env-file and others pass on; write it without them", variable(f))
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

// ofKubernetes are the variables that Kubernetes gives to each container for a service called headcount.
var ofKubernetes = regexp.MustCompile(`^` + envPrefix + `(_\w+)?_(SERVICE_HOST|SERVICE_PORT|PORT)(_\w+)?$`)

func inQuotes(s string) bool {
	return len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0]
}

// ranged is the value of an option that has to be within a range.
type ranged[T int | time.Duration] struct {
	value    *T
	min, max T
	zero     bool // 0 is good too
	parse    func(string) (T, error)
	print    func(T) string
	hint     string // what to give
}

func duration(value *time.Duration, first, least, most time.Duration) *ranged[time.Duration] {
	*value = first
	short := strings.NewReplacer("h0m0s", "h", "m0s", "m") // 10m0s
	return &ranged[time.Duration]{
		value: value, min: least, max: most, parse: time.ParseDuration,
		print: func(d time.Duration) string { return short.Replace(d.String()) },
		hint:  "a number and a unit, such as 5s",
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

// Set is for flag.Value.
func (r *ranged[T]) Set(text string) error {
	n, err := r.parse(text)
	if err != nil {
		return fmt.Errorf("give %s", r.hint)
	}
	if (n < r.min || n > r.max) && !(r.zero && n == 0) {
		return fmt.Errorf("it is out of range; give %s to %s", r.print(r.min), r.print(r.max))
	}
	*r.value = n
	return nil
}

func (r *ranged[T]) String() string { return r.print(*r.value) }

// onOff is the value of an option that is switched on by its name alone.
type onOff bool

// Set is for flag.Value.
func (o *onOff) Set(text string) error {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return errors.New("give true or false")
	}
	*o = onOff(on)
	return nil
}

func (o *onOff) String() string { return strconv.FormatBool(bool(*o)) }

// IsBoolFlag is for package flag.
func (*onOff) IsBoolFlag() bool { return true }

// plain takes the words that ff puts before an error away, and says what to do.
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

// help prints every option with its default and its environment variable.
func help(fs *flag.FlagSet, w io.Writer) error {
	_, err := fmt.Fprintf(w, "server counts who is connected and tells all of them, over plain HTTP.\n\n"+
		"Options, each with an environment variable that the option overrides:\n")
	if err != nil {
		return err
	}
	fs.VisitAll(func(f *flag.Flag) {
		kind, text := flag.UnquoteUsage(f)
		value := f.DefValue
		switch value {
		case "":
			value = "none"
		case "false":
			value = "off"
		case "true":
			value = "on"
		}
		_, e := fmt.Fprintf(w, "\n  %s\n      %s\n      default %s, environment %s\n",
			strings.TrimSpace("-"+f.Name+" "+kind), text, value, variable(f))
		err = errors.Join(err, e)
	})
	return err
}
