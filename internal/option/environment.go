// Package option has what the options of the server and of the terminal client share: the environment, the values with
// a range, and errors that say what to write instead.
package option

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/peterbourgon/ff/v3"
)

const prefix = "HEADCOUNT"

// Variable returns the name of an option's environment variable.
func Variable(name string) string {
	return prefix + "_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Parse parses args, and then the environment variables of the options that args do not set. Its errors are for users.
func Parse(fs *flag.FlagSet, args []string) error {
	if err := ff.Parse(fs, args, ff.WithEnvVarPrefix(prefix)); err != nil {
		return Explain(err)
	}
	return nil
}

var (
	undefined = regexp.MustCompile(`^flag provided but not defined: (.*)$`)
	noValue   = regexp.MustCompile(`^flag needs an argument: (.*)$`)
	badSyntax = regexp.MustCompile(`^bad flag syntax: (.*)$`)
	badValue  = regexp.MustCompile(`(?s)^invalid (?:boolean )?value (".*") for (?:flag )?(-[\w-]+): (.*)$`)
	badEnv    = regexp.MustCompile(`(?s)^error setting flag "[\w-]+" from environment variable "(\w+)": (.*)$`)
)

// Explain puts an error of package flag or ff into words for users. It keeps flag.ErrHelp.
func Explain(err error) error {
	for inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "error parsing "); inner = errors.Unwrap(err) {
		err = inner
	}
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	text := err.Error()
	for _, known := range []struct {
		form  *regexp.Regexp
		words string
	}{
		{undefined, "there is no option %s"},
		{noValue, "%s needs a value"},
		{badSyntax, "%s is not an option"},
		{badValue, "invalid value %s for %s: %s"},
	} {
		if found := known.form.FindStringSubmatch(text); found != nil {
			return fmt.Errorf(known.words, anys(found[1:])...)
		}
	}
	if found := badEnv.FindStringSubmatch(text); found != nil {
		return fmt.Errorf("invalid value %q for %s: %s", os.Getenv(found[1]), found[1], found[2])
	}
	return err
}

func anys(texts []string) (all []any) {
	for _, text := range texts {
		all = append(all, text)
	}
	return all
}

// ofKubernetes matches the variables that Kubernetes sets in every container for a service named headcount.
var ofKubernetes = regexp.MustCompile(`^` + prefix + `(_\w+)?_(SERVICE_HOST|SERVICE_PORT|PORT)(_\w+)?$`)

// Unknown returns the environment variables that look like options, but are none of the server or of the client. The
// two often share an environment.
func Unknown() (unknown []string) {
	known := make(map[string]bool)
	for _, g := range OfServer() {
		for _, name := range g.Options {
			known[Variable(name)] = true
		}
	}
	for _, name := range OfClient() {
		known[Variable(name)] = true
	}
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, prefix+"_") && !known[name] && !ofKubernetes.MatchString(name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}
