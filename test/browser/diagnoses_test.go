package browser

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"headcount/test/rig"
)

// The page and the terminal draw the same conclusions from the same facts, whatever the facts are.
func TestDiagnoses(t *testing.T) {
	type said struct {
		Findings  []rig.Finding
		Diagnosis string
	}
	var terminal, page map[string]said
	text, err := os.ReadFile("../../client/doctor/testdata/diagnoses.json")
	if err == nil {
		err = json.Unmarshal(text, &terminal)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err = exec.Command(rig.Need(t, "node", "apt-get install nodejs"), "testdata/diagnoses.mjs").Output()
	if err == nil {
		err = json.Unmarshal(text, &page)
	}
	if err != nil {
		t.Fatalf("ask the page's doctor: %v: %s", err, text)
	}
	for name, want := range terminal {
		got := page[name]
		if got.Diagnosis != want.Diagnosis || len(got.Findings) != len(want.Findings) {
			t.Errorf("%s: the page says %q with %d findings, client doctor %q with %d", name, got.Diagnosis, len(got.Findings), want.Diagnosis, len(want.Findings))
			continue
		}
		for i, f := range got.Findings {
			w := want.Findings[i]
			w.Words = strings.Replace(w.Words, "(-silence", "(client doctor -silence", 1)
			if f != w {
				t.Errorf("%s: the page says\n%+v\nclient doctor\n%+v", name, f, w)
			}
		}
	}
}
