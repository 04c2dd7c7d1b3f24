package rig

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// built remembers what has been built, as long as the test process lives. A build per test would take longer than most
// tests.
var built = struct {
	mu   sync.Mutex
	path map[string]string
}{path: map[string]string{}}

// Build builds the command of the repository in directory pkg ("server", "client") once per test process, with the race
// detector if the test has it, and returns the path of the binary.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	return build(t, pkg, Race)
}

func build(t testing.TB, pkg string, race bool) string {
	t.Helper()
	name := filepath.Base(pkg)
	args := []string{"build"}
	if race {
		name += "-race"
		args = append(args, "-race")
	}

	built.mu.Lock()
	defer built.mu.Unlock()
	if path, ok := built.path[name]; ok {
		return path
	}
	path := filepath.Join(binDir(t), name)
	cmd := exec.Command("go", append(args, "-o", path, "./"+filepath.Base(pkg))...)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	built.path[name] = path
	return path
}

// Root is the directory of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0) // ROOT/test/rig/build.go
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// binDir returns the directory of this process for binaries. No test can remove it, because the next one needs it. So
// each process removes the directories of processes that have ended.
func binDir(t testing.TB) string {
	t.Helper()
	const prefix = "headcount-test-bin-"
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range old {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), prefix))
		if err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			os.RemoveAll(dir)
		}
	}
	dir := filepath.Join(os.TempDir(), prefix+strconv.Itoa(os.Getpid()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("make directory for binaries: %v", err)
	}
	return dir
}
