package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"headcount/test/rig"
)

func itoa(n int) string { return strconv.Itoa(n) }

var (
	link   = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	tested = regexp.MustCompile("`(Test[A-Z]\\w+)")
	tasked = regexp.MustCompile("`task ([a-z][a-z:-]*)")
)

// The files, tests and tasks that documents name exist.
func TestReferences(t *testing.T) {
	taskfile, err := os.ReadFile(filepath.Join(rig.Root(), "Taskfile.yml"))
	if err != nil {
		t.Fatal(err)
	}
	tests := run(t, rig.Root(), "git", "grep", "-h", "--untracked", `^func Test`, "--", "*_test.go")
	decisions := strings.Fields(run(t, rig.Root(), "git", "ls-files", "docs/decisions/*.md"))
	for _, file := range append(documents(t), decisions...) {
		content, err := os.ReadFile(filepath.Join(rig.Root(), file))
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(found[1], "://") || strings.HasPrefix(found[1], "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(rig.Root(), filepath.Dir(file), found[1])); err != nil {
				t.Errorf("%s points to %s, which is not there", file, found[1])
			}
		}
		for _, found := range tested.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(tests, "func "+found[1]+"(") {
				t.Errorf("%s names %s, and there is no such test", file, found[1])
			}
		}
		for _, found := range tasked.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(string(taskfile), "\n  "+found[1]+":\n") && found[1] != "ci" {
				t.Errorf("%s names the task %s, and there is none", file, found[1])
			}
		}
	}
}
