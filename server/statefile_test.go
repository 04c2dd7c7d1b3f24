package main

import (
	"os"
	"path/filepath"
	"testing"
)

// What cannot be read, or was not written by headcount, is not overwritten.
func TestForeignState(t *testing.T) {
	dir := t.TempDir()
	empty, text := filepath.Join(dir, "empty"), filepath.Join(dir, "text")
	for path, content := range map[string]string{empty: "", text: "some text of somebody"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{filepath.Join(dir, "none"): false, empty: false, text: true, dir: true} {
		if got := isForeign(path); got != want {
			t.Errorf("%s: got %t, want %t", path, got, want)
		}
	}
}
