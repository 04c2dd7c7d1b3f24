package doctor

import (
	"encoding/json"
	"fmt"
	"strings"

	"headcount/client/terminal"
)

// verdict is the result of a finding in one word.
type verdict string

const (
	isOK      verdict = "OK"
	isLate    verdict = "LATE"    // events arrive after a delay
	isHeld    verdict = "HELD"    // events arrive when the response is complete
	isBlocked verdict = "BLOCKED" // it does not get through
	isChanged verdict = "CHANGED" // a middlebox rewrites it
	isCut     verdict = "CUT"     // a middlebox ends it
	isUnseen  verdict = "UNSEEN"  // the server does not notice it
	isFailed  verdict = "FAILED"
	isUnknown verdict = "UNKNOWN" // it could not be tested
)

// color returns the terminal color of a verdict.
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

// maxWidth is the longest line on a wide terminal, because longer lines are hard to read.
const maxWidth = 100

// The columns of a finding.
const (
	nameColumn    = 24
	verdictColumn = 9
)

// report prints findings as they come, or all at the end as JSON.
type report struct {
	Options
	progress *progress
	color    bool
	width    int // of a line
	findings []finding
	err      error // the first write error
}

func newReport(o Options, p *progress) *report {
	columns, _ := terminal.Size(o.Out)
	r := &report{Options: o, progress: p, color: terminal.HasColor(o.Out), width: min(columns, maxWidth)}
	if !r.JSON {
		r.print("The connection to %s\n\n", o.Server)
	}
	return r
}

func (r *report) add(findings ...finding) {
	r.findings = append(r.findings, findings...)
	r.progress.stop()
	if r.JSON {
		return
	}
	for _, f := range findings {
		word := fmt.Sprintf("%-*s", verdictColumn, f.Verdict)
		if r.color {
			word = f.Verdict.color() + word + noColor
		}
		indent := strings.Repeat(" ", 2+nameColumn+verdictColumn)
		r.print("  %-*s%s%s\n", nameColumn, f.Name, word, terminal.Wrap(terminal.OneLine(f.Words), indent, r.width))
	}
}

// end prints what the findings mean together and what to do about them.
func (r *report) end(outcome Outcome) error {
	diagnosis := diagnosisOf(outcome)
	if r.JSON {
		line, err := json.Marshal(struct {
			URL       string    `json:"url"`
			Streams   bool      `json:"streams"`
			Polling   bool      `json:"polling"`
			Findings  []finding `json:"findings"`
			Exit      int       `json:"exit"`
			Diagnosis string    `json:"diagnosis"`
		}{r.Server.String(), outcome == StreamsWork, r.polls(), r.findings, r.Exit(outcome), diagnosis})
		if err != nil {
			return fmt.Errorf("encode report: %w", err)
		}
		r.print("%s\n", line)
		return r.err
	}
	if r.color {
		diagnosis = "\x1b[1m" + diagnosis + noColor
	}
	r.print("\n%s\n", diagnosis)
	head := "\nWhat to do\n"
	given := map[string]bool{"": true}
	for _, f := range r.findings {
		if !given[f.Advice] {
			given[f.Advice] = true
			r.print("%s  - %s\n", head, terminal.Wrap(f.Advice, "    ", r.width))
			head = ""
		}
	}
	return r.err
}

// diagnosisOf returns a sentence for the outcome.
func diagnosisOf(outcome Outcome) string {
	switch outcome {
	case StreamsWork:
		return "Streams work on this connection."
	case OnlyPolling:
		return "Only polling works on this connection."
	}
	return "Nothing works on this connection."
}

// polls reports whether polling works.
func (r *report) polls() bool {
	for _, f := range r.findings {
		if f.Name == namePolling {
			return f.Verdict == isOK
		}
	}
	return false
}

func (r *report) print(format string, args ...any) {
	if _, err := fmt.Fprintf(r.Out, format, args...); err != nil && r.err == nil {
		r.err = fmt.Errorf("write output: %w", err)
	}
}
