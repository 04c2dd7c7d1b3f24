package main

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"headcount/internal/option"
)

var (
	inBrackets = regexp.MustCompile(` \(\[[^]]*\]\([^)]*\)\)`) // a link to more documentation
	optionName = regexp.MustCompile("`-([a-z0-9-]+)`")
)

// Every option is in one group, and README.md has the same groups, options, defaults and texts as -h. If an option has
// its own row, the text of -h begins like the row.
func TestHelpIsREADME(t *testing.T) {
	fs := flag.NewFlagSet("server", flag.ContinueOnError)
	new(config).declare(fs)
	fs.Bool("h", false, "print this help and exit") // package flag provides it
	var want []string                               // "*group" and the names of options
	for _, g := range option.OfServer() {
		want = append(append(want, "*"+g.Title), g.Options...)
	}
	want = slices.Insert(want, slices.Index(want, "version")+1, "h")
	fs.VisitAll(func(f *flag.Flag) {
		if !slices.Contains(want, f.Name) {
			t.Errorf("-%s is in no group", f.Name)
		}
	})

	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "\n| option | default | meaning |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var got []string
	for line := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(line, "|")
		first := strings.TrimSpace(cells[1])
		if title, ok := strings.CutPrefix(first, "**"); ok {
			title, _, _ = strings.Cut(title, "**")
			got = append(got, "*"+title)
			continue
		}
		var row []string
		for _, m := range optionName.FindAllStringSubmatch(first, -1) {
			row = append(row, m[1])
		}
		got = append(got, row...)
		checkRow(t, fs, row, strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("README.md has these groups and options:\n%q\n-h has:\n%q", got, want)
	}
}

// checkRow compares a row of README.md with its options.
func checkRow(t *testing.T, fs *flag.FlagSet, row []string, defaults, text string) {
	t.Helper()
	given := strings.Split(defaults, ", ")
	for i, name := range row {
		f := fs.Lookup(name)
		if f == nil {
			t.Errorf("README.md has -%s, which is no option", name)
			continue
		}
		want, _, _ := strings.Cut(given[min(i, len(given)-1)], " = ")
		want = strings.ReplaceAll(want, "`", "")
		if want == "loopback" {
			list := loopback()
			want = list.String()
		}
		if got := defaultOf(f); defaults != "" && got != want {
			t.Errorf("-%s: README.md has the default %q, -h has %q", name, want, got)
		}
		_, usage := flag.UnquoteUsage(f)
		want = strings.ReplaceAll(inBrackets.ReplaceAllString(text, ""), "`", "")
		if len(row) == 1 && !strings.HasPrefix(usage, want) {
			t.Errorf("-%s: README.md says %q, -h says %q", name, want, usage)
		}
	}
}
