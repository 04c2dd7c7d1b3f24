package proxies

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"headcount/test/rig"
)

// TestMain installs the npm package when it is not there as package-lock.json has it.
func TestMain(m *testing.M) {
	if err := rig.InstallNPM(here()); err != nil {
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
