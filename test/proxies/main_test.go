package proxies

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// TestMain installs the npm package when it is not there as package-lock.json has it.
func TestMain(m *testing.M) {
	if err := install(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Most of them wait, most of the time, so that a machine with two processors can have them all at once.
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func install() error {
	if _, err := exec.LookPath("npm"); err != nil {
		return fmt.Errorf("npm is missing; install it: apt-get install nodejs npm")
	}
	lock, err := os.Stat("package-lock.json")
	if err != nil {
		return err
	}
	// npm writes this file last, so it is the sign of a finished installation.
	done, err := os.Stat("node_modules/.package-lock.json")
	if err == nil && !done.ModTime().Before(lock.ModTime()) {
		return nil
	}
	if out, err := exec.Command("npm", "ci", "--no-fund", "--no-audit").CombinedOutput(); err != nil {
		return fmt.Errorf("install the package of package-lock.json: npm ci: %w\n%s", err, out)
	}
	return nil
}
