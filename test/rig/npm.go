package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// InstallNPM installs the npm packages of a directory, unless they are there in the versions of its package-lock.json.
// It is for TestMain.
func InstallNPM(dir string) error {
	if _, err := exec.LookPath("npm"); err != nil {
		return fmt.Errorf("npm is missing; install it: apt-get install nodejs npm")
	}
	// npm writes node_modules/.package-lock.json last, so it is the sign of a finished installation.
	lock, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return err
	}
	done, err := os.Stat(filepath.Join(dir, "node_modules/.package-lock.json"))
	if err == nil && !done.ModTime().Before(lock.ModTime()) {
		return nil
	}
	cmd := exec.Command("npm", "ci", "--no-fund", "--no-audit")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("install the packages of %s: npm ci: %w\n%s", filepath.Join(dir, "package-lock.json"), err, out)
	}
	return nil
}
