package main

import (
	"os/exec"
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
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		Setup:               script.Setup,
		Cmds:                script.Commands(),
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(4 * time.Minute), // an endless command fails the test
	})
}
