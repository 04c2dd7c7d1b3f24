package docs

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"headcount/test/rig"
)

// Every decision has a number of its own, and its title begins with it.
func TestDecisions(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(rig.Root(), "docs/decisions/[0-9]*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found no decisions: %v", err)
	}
	name := regexp.MustCompile(`^(\d{4})-[a-z0-9-]+\.md$`)
	taken := map[int]string{}
	for _, file := range files {
		found := name.FindStringSubmatch(filepath.Base(file))
		if found == nil {
			t.Errorf("%s is not NUMBER-words.md", file)
			continue
		}
		number, _ := strconv.Atoi(found[1]) // four digits
		if other, ok := taken[number]; ok {
			t.Errorf("%s and %s have the same number", other, file)
		}
		taken[number] = file
		if title := firstLine(t, file); !regexp.MustCompile(`^# ` + strconv.Itoa(number) + `\. \S`).MatchString(title) {
			t.Errorf("%s begins with %q, want # %d. and what was decided", file, title, number)
		}
	}
}

func firstLine(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Scan()
	return in.Text()
}
