// Package embed uses headcount in a module of its own, in programs whose routers, middleware and timeouts know nothing
// about streams.
package embed

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"headcount/test/rig"
)

func TestForeignModule(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/host")); err != nil {
		t.Fatal(err)
	}
	// What the module needs, it takes in the versions that headcount has: nothing is loaded for this test.
	own, err := os.ReadFile(filepath.Join(rig.Root(), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, needs, _ := strings.Cut(string(own), "\n")
	module := "module example.test/host\n" + needs + "\nrequire headcount v0.0.0\n\nreplace headcount => " + rig.Root() + "\n"
	sums, err := os.ReadFile(filepath.Join(rig.Root(), "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"go.mod": module, "go.sum": string(sums)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", "-mod=mod", "-count=1", "-timeout=3m", "-v", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"net/http", "Echo"} {
		if !strings.Contains(string(out), "--- PASS: TestStreams/"+name) {
			t.Errorf("the streams of %s were not tested:\n%s", name, out)
		}
	}
}
