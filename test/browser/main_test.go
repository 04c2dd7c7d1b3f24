package browser

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"headcount/test/rig/chromium"
)

// browsers is the Chromium of all tests. It lives as long as the test process, because many tests take less time than
// its start.
var browsers context.Context

func TestMain(m *testing.M) {
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (int, error) {
	// Those that are parallel wait, most of the time, so that a machine with two processors can have them at once.
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		return 0, err
	}
	bin, err := exec.LookPath("chromium")
	if err != nil {
		return 0, fmt.Errorf("chromium is missing; install it: apt-get install chromium: %w", err)
	}
	profile, err := os.MkdirTemp("", "headcount-chromium-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(profile)
	// A name that is not localhost, for what browsers give on plain http.
	ctx, stop, err := chromium.Launch(bin, profile, "host-resolver-rules=MAP real.test 127.0.0.1")
	defer stop()
	if err != nil {
		return 0, err
	}
	browsers = ctx
	return m.Run(), nil
}
