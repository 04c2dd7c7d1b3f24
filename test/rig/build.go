package rig

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// built remembers what has been built, as long as the test process lives. A build per test would take longer than most
// tests.
var built = struct {
	mu   sync.Mutex
	done map[string]bool
}{done: map[string]bool{}}

// Build builds the command of the repository in directory pkg ("server", "client"), with the race detector if the test
// has it, and returns the path of the binary. It stays there, so that the next test process need not link it again.
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
	path := filepath.Join(Root(), "bin", ".test", name)
	if built.done[name] {
		return path
	}
	defer alone(t, filepath.Dir(path))()
	cmd := exec.Command("go", append(args, "-o", path, "./"+filepath.Base(pkg))...)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	built.done[name] = true
	return path
}

// alone makes the directory and locks it against other test processes. The function it returns unlocks it.
func alone(t testing.TB, dir string) (unlock func()) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("make directory for binaries: %v", err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatalf("lock directory of binaries: %v", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("lock directory of binaries: %v", err)
	}
	return func() { lock.Close() }
}

// Root is the directory of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0) // ROOT/test/rig/build.go
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}
