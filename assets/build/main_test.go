package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// limit is what the contract allows io.js with all of its features, minified and gzipped.
const limit = 4 << 10

func TestBuiltFilesAreCurrent(t *testing.T) {
	files, err := build("..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what src gives: run go generate ./assets", name)
		}
	}
}

func TestSize(t *testing.T) {
	for _, name := range []string{"io.js", "io.mjs"} {
		content, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		var zipped bytes.Buffer
		w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(content)
		w.Close()
		t.Logf("%s: %d bytes, %d gzipped", name, len(content), zipped.Len())
		if zipped.Len() > limit {
			t.Errorf("%s is %d bytes gzipped, want at most %d", name, zipped.Len(), limit)
		}
	}
}

// What a strict Content-Security-Policy forbids is not in there.
func TestStrictPolicy(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "io.js"))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"eval(", "Function(", "innerHTML", "<style", ".style", "Blob(", "blob:"} {
		if strings.Contains(string(content), word) {
			t.Errorf("io.js contains %s", word)
		}
	}
}

func TestBuildSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "src"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "src", "io.mjs"), []byte("export const io = ("), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := build(dir); err == nil || !strings.Contains(err.Error(), "io.mjs:1") {
		t.Errorf("build of a broken source: %v, want the place of the mistake", err)
	}
}
