package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A report is everything that came out of one call of the benchmark.
type report struct {
	Machine string
	Version string // of headcount
	Date    string
	Runs    int
	Absent  []absence
	Results []result
}

// An absence is a peer that could not be installed.
type absence struct{ Peer, Why string }

// A result is what one server showed in one scenario of one run.
type result struct {
	Run        int
	Scenario   string
	Peer       string
	Streams    int
	Figures    map[string]float64
	Remark     string `json:",omitempty"`
	Unfinished bool   `json:",omitempty"`
}

func newReport(o options) *report {
	return &report{Machine: machine(), Version: version(), Date: time.Now().Format(time.DateOnly), Runs: o.runs}
}

func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := "unknown"
	var uname unix.Utsname
	if unix.Uname(&uname) == nil {
		kernel = unix.ByteSliceToString(uname.Release[:])
	}
	return fmt.Sprintf("%d × %s, Linux %s, %s", runtime.NumCPU(), model, kernel, runtime.Version())
}

// version is the commit that headcount was built from.
func version() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown version"
	}
	return strings.TrimSpace(string(out))
}

func (r *report) gaveUp(letter, name string, streams int) bool {
	return slices.ContainsFunc(r.Results, func(x result) bool {
		return x.Unfinished && x.Scenario == letter && x.Peer == name && x.Streams == streams
	})
}

// line is a result in one line, for those who watch.
func (x result) line(sc scenario) string {
	var words []string
	for _, c := range sc.columns {
		if v, ok := x.Figures[c.key]; ok {
			words = append(words, c.key+" "+c.format(v))
		}
	}
	if v, ok := x.Figures["generator"]; ok {
		words = append(words, fmt.Sprintf("(generator %.1f µs)", v))
	}
	if x.Remark != "" {
		words = append(words, x.Remark)
	}
	return strings.Join(words, ", ")
}

func (r *report) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create output directory: %w", err)
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

func readReport(dir string) (*report, error) {
	text, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	r := &report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	return r, nil
}

// write prints the tables and leaves them, with a picture for each scenario, in the directory.
func (r *report) write(o options, stdout io.Writer) error {
	if err := r.save(o.out); err != nil {
		return err
	}
	var markdown strings.Builder
	fmt.Fprintf(&markdown, "%s; headcount %s, %s, %d runs. Median (smallest to largest); × = multiple of headcount's in the same run, median.\n",
		r.Machine, r.Version, r.Date, r.Runs)
	fmt.Fprintf(stdout, "\n%s", markdown.String())
	for _, sc := range scenarios() {
		rows := r.rows(sc)
		if len(rows) == 0 {
			continue
		}
		name := "scenario-" + sc.letter + ".svg"
		fmt.Fprintf(&markdown, "\n### (%s) %s\n\n![%s](%s)\n\n%s", sc.letter, sc.title, sc.title, name, markdownTable(sc, rows))
		fmt.Fprintf(stdout, "\n(%s) %s\n%s", sc.letter, sc.title, plainTable(sc, rows))
		if err := os.WriteFile(filepath.Join(o.out, name), picture(sc, rows), 0o644); err != nil {
			return fmt.Errorf("write picture: %w", err)
		}
	}
	if table := goalTable(r.Results); table != "" {
		fmt.Fprintf(&markdown, "\n### Goals\n\n%s", table)
		fmt.Fprintf(stdout, "\n%s", table)
	}
	for _, a := range r.Absent {
		fmt.Fprintf(&markdown, "\nNot installed: %s: %s\n", a.Peer, a.Why)
		fmt.Fprintf(stdout, "\nnot installed: %s: %s\n", a.Peer, a.Why)
	}
	if o.doc != "" {
		return embed(o.doc, o.out, markdown.String())
	}
	if err := os.WriteFile(filepath.Join(o.out, "tables.md"), []byte(markdown.String()), 0o644); err != nil {
		return fmt.Errorf("write tables: %w", err)
	}
	return nil
}

const (
	tablesBegin = "<!-- tables: written by the benchmark -->\n"
	tablesEnd   = "<!-- end of tables -->\n"
)

// embed writes the tables into a document, between the two marks, with links to the pictures in dir.
func embed(doc, dir, markdown string) error {
	text, err := os.ReadFile(doc)
	if err != nil {
		return fmt.Errorf("embed tables: %w", err)
	}
	before, rest, begins := strings.Cut(string(text), tablesBegin)
	_, after, ends := strings.Cut(rest, tablesEnd)
	if !begins || !ends {
		return fmt.Errorf("embed tables: %s lacks the line %q or %q", doc, tablesBegin, tablesEnd)
	}
	path, err := filepath.Rel(filepath.Dir(doc), dir)
	if err != nil {
		return fmt.Errorf("embed tables: %w", err)
	}
	markdown = strings.ReplaceAll(markdown, "](scenario-", "]("+filepath.ToSlash(path)+"/scenario-")
	if err := os.WriteFile(doc, []byte(before+tablesBegin+markdown+tablesEnd+after), 0o644); err != nil {
		return fmt.Errorf("embed tables: %w", err)
	}
	return nil
}
