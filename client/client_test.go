package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"headcount/internal/script"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"client": main})
}

// The scripts in testdata run the command as a user types it, against the real server.
func TestScripts(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is missing; install it: apt-get install curl")
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "server"), "headcount/server")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build server: %v\n%s", err, out)
	}
	// The scripts run in parallel. They are in a subtest, so that the directory is removed after all of them.
	t.Run("testdata", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata",
			Setup: func(env *testscript.Env) error {
				env.Setenv("PATH", env.Getenv("PATH")+string(os.PathListSeparator)+bin)
				return script.Setup(env)
			},
			Cmds:                script.Commands(),
			RequireExplicitExec: true,
			Deadline:            time.Now().Add(4 * time.Minute), // an endless command fails the test
		})
	})
}
