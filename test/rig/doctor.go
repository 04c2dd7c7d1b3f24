package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A Finding is one line of the doctor's report.
type Finding struct{ Name, Verdict, Words, Advice string }

// A Report is everything that the doctor reports.
type Report struct {
	Exit      int
	Polling   bool
	Diagnosis string
	Findings  []Finding
}

// Examine runs "client doctor" on the network to a server. Env is its environment; nil = that of the test.
func Examine(t testing.TB, url, silence string, env []string) (said Report, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, Build(t, "client"), "doctor", "-json", "-silence", silence, url)
	cmd.Env = env
	out, failed := cmd.Output() // its status is in what it prints
	if err := json.Unmarshal(out, &said); err != nil {
		return said, fmt.Errorf("client doctor printed %q (%v): %w", out, failed, err)
	}
	return said, nil
}

// PageReport is a script that returns what the page's doctor shows.
const PageReport = `({
	Diagnosis: document.querySelector('.diagnosis').textContent,
	Findings: [...document.querySelectorAll('.findings div')].map((row) => ({
		Name: row.querySelector('dt').textContent, Verdict: row.dataset.verdict, Words: row.querySelector('span').textContent
	}))
})`

var times = regexp.MustCompile(`[0-9.]+ (ms|s)\b`)

// Timeless returns a sentence of the doctor without times, and without the advice to listen longer.
func Timeless(words string) string {
	return strings.Replace(times.ReplaceAllString(words, "TIME"), "(client doctor -silence", "(-silence", 1)
}
