package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"headcount/test/rig"
)

// "task rename" gives a copy of the repository another module path, and every module still builds.
func TestRename(t *testing.T) {
	dir := copyRepository(t)
	was := strings.TrimSpace(run(t, rig.Root(), "go", "list", "-m"))

	const path = "github.com/you/headcount"
	run(t, dir, "go", "run", "./internal/rename", path)
	if got := strings.TrimSpace(run(t, dir, "go", "list", "-m")); got != path {
		t.Errorf("the module is %q, want %s", got, path)
	}
	for _, module := range []string{".", "test", "bench"} {
		run(t, filepath.Join(dir, module), "go", "build", "-buildvcs=false", "./...")
		// An import of the old path, in a test for one, cannot be found.
		list := run(t, filepath.Join(dir, module), "go", "list", "-e", "-test", "-deps", "-f", "{{if .Error}}{{.ImportPath}}: {{.Error}}{{end}}", "./...")
		if errors := strings.TrimSpace(list); errors != "" {
			t.Errorf("module %s: %s", module, errors)
		}
	}
	if lint, err := os.ReadFile(filepath.Join(dir, ".golangci.yml")); err != nil || !strings.Contains(string(lint), "pkg: "+path) || strings.Contains(string(lint), "pkg: "+was) {
		t.Errorf("the linter's rules do not name the new path: %v", err)
	}

}

// copyRepository copies what is in the repository, or will be, and returns where to.
func copyRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run(t, rig.Root(), "sh", "-c", `git ls-files -co --exclude-standard -z | tar --create --null --files-from - --ignore-failed-read | tar --extract --directory "$1"`, "sh", dir)
	return dir
}

func run(t *testing.T, dir, command string, args ...string) string {
	t.Helper()
	cmd := exec.Command(command, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", command, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}
