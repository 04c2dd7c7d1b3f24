package recipes

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"headcount/test/rig"
)

// pack makes the npm package of the browser client and returns its file.
func pack(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("npm", "pack", "./assets", "--pack-destination", dir)
	cmd.Dir = rig.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		t.Fatalf("npm pack made %v, %v; want one file", packed, err)
	}
	return packed[0]
}

// project makes a directory with the files of a recipe, in which the package is installed as the document says, beside
// those of package-lock.json. Vite passes requests on to server.
func project(t *testing.T, recipe, packed, server string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files := read(t, recipe)
	files["package.json"] = `{"private": true, "type": "module"}`
	for name, text := range files {
		text = strings.ReplaceAll(text, "http://localhost:8080", server)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.Command("npm", "install", "--offline", packed)
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	modules, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(modules)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); name != ".package-lock.json" && name != ".bin" {
			if err := os.Symlink(filepath.Join(modules, name), filepath.Join(dir, "node_modules", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// bin is a command of an installed package.
func bin(dir, name string) string {
	return filepath.Join(dir, map[string]string{"vite": "node_modules/vite/bin/vite.js", "tsc": "node_modules/typescript/bin/tsc"}[name])
}

var block = regexp.MustCompile("(?ms)^```\\w+ (\\S+)\n(.*?)^```$")

// read returns the files of a recipe: the blocks of its section of docs/recipes.md that have a name.
func read(t *testing.T, recipe string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rig.Root(), "docs/recipes.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+recipe+"\n")
	if !ok {
		t.Fatalf("docs/recipes.md has no section %q", recipe)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	files := map[string]string{}
	for _, found := range block.FindAllStringSubmatch(section, -1) {
		files[found[1]] = found[2]
	}
	if len(files) == 0 {
		t.Fatalf("the section %q of docs/recipes.md has no files", recipe)
	}
	return files
}
