package option_test

import (
	"errors"
	"flag"
	"io"
	"slices"
	"testing"
	"time"

	"headcount/internal/option"
)

// A mistake is one sentence that names the option or the variable, the wrong value and what to write instead.
func TestParse(t *testing.T) {
	tests := []struct {
		name, variable string
		args           []string
		want           string
	}{
		{"well", "7s", []string{"-on", "-number", "3"}, ""},
		{"undefined", "", []string{"-bogus"}, "there is no option -bogus"},
		{"no value", "", []string{"-number"}, "-number needs a value"},
		{"no option", "", []string{"--=x"}, "--=x is not an option"},
		{"not a number", "", []string{"-number", "many"}, `invalid value "many" for -number: give a whole number`},
		{"out of range", "", []string{"-number", "6"}, `invalid value "6" for -number: out of range; give 1 to 5`},
		{"no unit", "", []string{"-time", "5"}, `invalid value "5" for -time: give a number and a unit, such as 5s`},
		{"not a switch", "", []string{"-on=maybe"}, `invalid value "maybe" for -on: give true or false`},
		{"two lines", "", []string{"-on=a\nb"}, `invalid value "a\nb" for -on: give true or false`},
		{"variable", "5", nil, `invalid value "5" for HEADCOUNT_TIME: give a number and a unit, such as 5s`},
		{"variable that an option overrides", "5", []string{"-time", "5s"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var n int
			var d time.Duration
			fs := flag.NewFlagSet("test", flag.ContinueOnError)
			fs.SetOutput(io.Discard)
			fs.Var(option.Number(&n, 2, 1, 5), "number", "")
			fs.Var(option.Duration(&d, time.Second, time.Second, time.Minute), "time", "")
			fs.Var(new(option.OnOff), "on", "")
			t.Setenv("HEADCOUNT_TIME", tt.variable)
			switch err := option.Parse(fs, tt.args); {
			case err == nil && tt.want != "", err != nil && err.Error() != tt.want:
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	if err := option.Parse(fs, []string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: got %v, want %v", err, flag.ErrHelp)
	}
}

// Neither the variables of the server nor those of the client nor those of Kubernetes are unknown.
func TestUnknown(t *testing.T) {
	for name, want := range map[string]bool{
		"HEADCOUNT_MAX_EVENT": false, "HEADCOUNT_ROOM": false, "HEADCOUNT_SERVICE_HOST": false, "HEADCOUNT_PORT_80_TCP": false, "HEADCOUNT_ROMM": true,
	} {
		t.Setenv(name, "1")
		if got := slices.Contains(option.Unknown(), name); got != want {
			t.Errorf("%s: unknown %v, want %v", name, got, want)
		}
	}
}
