package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample is what three runs of two servers could bring.
func sample() *report {
	r := &report{Machine: "a machine", Version: "v0", Date: "2026-01-01", Runs: 3}
	for run, cpu := range []float64{8, 7, 9} {
		r.Results = append(r.Results,
			result{Run: run + 1, Scenario: "b", Peer: "headcount", Streams: 10_000, Figures: map[string]float64{"cpu": cpu, "p99": 20}},
			result{Run: run + 1, Scenario: "b", Peer: "nchan", Streams: 10_000, Figures: map[string]float64{"cpu": 2 * cpu, "p99": 10}})
	}
	r.Results = append(r.Results, result{Run: 1, Scenario: "b", Peer: "go-sse", Streams: 10_000, Remark: "12 % <delivered>", Unfinished: true})
	return r
}

func TestTables(t *testing.T) {
	var printed bytes.Buffer
	dir := t.TempDir()
	doc := filepath.Join(filepath.Dir(dir), "page.md")
	if err := os.WriteFile(doc, []byte("before\n"+tablesBegin+"old\n"+tablesEnd+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := options{out: dir, doc: doc}
	if err := sample().write(o, &printed); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"8 µs (7 to 9) ×1.00", "16 µs (14 to 18) ×2.00", "12 % <delivered>",
		"| CPU per delivery, 10,000 streams, × nchan's | 0.50 | 0.70 | yes |",
		"| p99 of a fan-out, 10,000 streams, × nchan's | 2 | 1 | **no** |",
	} {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("printed: want %q in\n%s", want, printed.String())
		}
	}
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	picture := "](" + filepath.Base(dir) + "/scenario-b.svg)"
	if strings.Contains(page, "old") || !strings.Contains(page, picture) || !strings.HasPrefix(page, "before\n") ||
		!strings.HasSuffix(page, "after\n") {
		t.Errorf("page: want the tables with %q between before and after, got\n%s", picture, page)
	}
	again, err := readReport(dir)
	if err != nil {
		t.Fatal(err)
	}
	var repeated bytes.Buffer
	if err := again.write(o, &repeated); err != nil || repeated.String() != printed.String() {
		t.Errorf("from results.json: got %v and\n%s\nwant the same as before", err, repeated.String())
	}
}

func TestPictureIsXML(t *testing.T) {
	sc := fanoutScenario()
	decoder := xml.NewDecoder(bytes.NewReader(picture(sc, sample().rows(sc))))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("parse picture: %v", err)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, row := range []struct{ name, args, want string }{
		{"unknown scenario", "-scenario a,z", `no scenario "z"`},
		{"unknown server", "-peers headcount,apache", `no server "apache"`},
		{"too many streams", "-streams 30000", "not between"},
	} {
		_, err := parseOptions(strings.Fields(row.args), io.Discard)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got error %v, want one with %q", row.name, err, row.want)
		}
	}
}
