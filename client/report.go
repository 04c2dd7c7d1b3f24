package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// verdict is what a finding amounts to, in one word.
type verdict string

const (
	isOK      verdict = "OK"
	isLate    verdict = "LATE"    // events come after a while
	isHeld    verdict = "HELD"    // events come when the answer is complete
	isBlocked verdict = "BLOCKED" // it does not go through
	isChanged verdict = "CHANGED" // something on the way rewrites it
	isCut     verdict = "CUT"     // something on the way ends it
	isUnseen  verdict = "UNSEEN"  // the server does not hear of it
	isFailed  verdict = "FAILED"
	isUnknown verdict = "UNKNOWN" // there was no way to find out
)

// color is the terminal's for a verdict.
func (v verdict) color() string {
	switch v {
	case isOK:
		return "\x1b[32m" // green
	case isHeld, isFailed:
		return "\x1b[31m" // red
	case isUnknown:
		return "\x1b[2m" // faint
	}
	return "\x1b[33m" // yellow
}

const noColor = "\x1b[0m"

// finding is one line of the report.
type finding struct {
	Name    string  `json:"name"`
	Verdict verdict `json:"verdict"`
	Words   string  `json:"words"`
	Advice  string  `json:"advice,omitempty"`
}

// report prints findings as they come, or, as JSON, all at the end.
type report struct {
	out      io.Writer
	json     bool
	color    bool
	width    int // of a line
	url      string
	findings []finding
	err      error // the first one of writing
}

// Lines are no longer than this where there is no terminal, or a wide one: long ones are hard to read.
const (
	plainWidth = 80
	maxWidth   = 100
)

func newReport(o *options, base *url.URL, std streams) *report {
	r := &report{out: std.out, json: o.json, width: plainWidth, url: base.Redacted()}
	if f, ok := std.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		r.color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			r.width = min(width, maxWidth)
		}
	}
	if !r.json {
		r.print("%s\n\n", titleOfReport(r.url))
	}
	return r
}

// The columns of a finding.
const (
	nameColumn    = 16
	verdictColumn = 9
)

func (r *report) add(findings ...finding) {
	r.findings = append(r.findings, findings...)
	if r.json {
		return
	}
	for _, f := range findings {
		word := fmt.Sprintf("%-*s", verdictColumn, f.Verdict)
		if r.color {
			word = f.Verdict.color() + word + noColor
		}
		indent := strings.Repeat(" ", 2+nameColumn+verdictColumn)
		r.print("  %-*s%s%s\n", nameColumn, f.Name, word, wrap(oneLine(f.Words), indent, r.width))
	}
}

// end prints what the findings mean together, and what to do about them.
func (r *report) end(status int) error {
	if r.json {
		line, err := json.Marshal(struct {
			URL       string    `json:"url"`
			Streams   bool      `json:"streams"`
			Polling   bool      `json:"polling"`
			Findings  []finding `json:"findings"`
			Exit      int       `json:"exit"`
			Diagnosis string    `json:"diagnosis"`
		}{r.url, status == statusOK, r.polls(), r.findings, status, diagnosisOf(status)})
		if err != nil {
			return fmt.Errorf("encode report: %w", err)
		}
		r.print("%s\n", line)
		return r.err
	}
	diagnosis := diagnosisOf(status)
	if r.color {
		diagnosis = "\x1b[1m" + diagnosis + noColor
	}
	r.print("\n%s\n", diagnosis)
	head := adviceHead
	given := map[string]bool{"": true}
	for _, f := range r.findings {
		if !given[f.Advice] {
			given[f.Advice] = true
			r.print("%s  - %s\n", head, wrap(f.Advice, "    ", r.width))
			head = ""
		}
	}
	return r.err
}

// polls says whether polling was found to work.
func (r *report) polls() bool {
	for _, f := range r.findings {
		if f.Name == namePolling {
			return f.Verdict == isOK
		}
	}
	return false
}

func (r *report) print(format string, args ...any) {
	if _, err := fmt.Fprintf(r.out, format, args...); err != nil && r.err == nil {
		r.err = fmt.Errorf("write output: %w", err)
	}
}

// wrap breaks text into lines of at most width columns; those after the first begin with indent, and for the first one
// as much is left out. Words that are too long stand alone.
func wrap(text, indent string, width int) string {
	var b strings.Builder
	column := len(indent)
	for i, word := range strings.Fields(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+length > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	return b.String()
}
