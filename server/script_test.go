package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"headcount/internal/script"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"server": main})
}

// The scripts in testdata run the command as a user types it.
func TestScripts(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is missing; install it: apt-get install curl")
	}
	// Where the tests ignore SIGHUP, as under nohup, the commands would too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		Setup:               script.Setup,
		Cmds:                script.Commands(),
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(4 * time.Minute), // an endless command fails the test
	})
}
