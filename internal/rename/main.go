// Command rename changes the module path everywhere in the repository. Use it to publish the module under a path
// of your own.
//
//	task rename -- github.com/you/headcount
package main

import (
	"errors"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "rename: give the new path of the module, such as github.com/you/headcount")
		os.Exit(2)
	}
	changed, err := rename(".", os.Args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "rename: %v\n", err)
		os.Exit(1)
	}
	fmt.Printf("%d files changed; see git diff, and run the tests\n", changed)
}

var (
	moduleLine = regexp.MustCompile(`(?m)^module (\S+)$`)
	// The form that cmd/go accepts. The parts between slashes have these characters, and the first part has a dot.
	validPath = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)
)

// rename changes the path of the module in the directory root. It returns the number of changed files.
func rename(root, path string) (changed int, err error) {
	if !validPath.MatchString(path) {
		return 0, fmt.Errorf("%q is no path of a module; give one such as github.com/you/headcount", path)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return 0, err
	}
	found := moduleLine.FindSubmatch(mod)
	if found == nil {
		return 0, errors.New("go.mod names no module")
	}
	r := renamer{from: string(found[1]), to: path}
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains([]string{".git", "bin", "node_modules"}, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		did, err := r.file(name)
		if did {
			changed++
		}
		return err
	})
	return changed, err
}

// renamer changes the module path in files. It does not change the word headcount anywhere else, such as in metrics,
// units and titles.
type renamer struct{ from, to string }

// file changes one file, and reports whether the content is different.
func (r renamer) file(name string) (bool, error) {
	change := r.changer(name)
	if change == nil {
		return false, nil
	}
	before, err := os.ReadFile(name)
	if err != nil {
		return false, err
	}
	after, err := change(before)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	if string(after) == string(before) {
		return false, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return false, err
	}
	return true, os.WriteFile(name, after, info.Mode())
}

// changer returns the function that changes a file, or nil if the file stays as it is.
func (r renamer) changer(name string) func([]byte) ([]byte, error) {
	path := `(` + regexp.QuoteMeta(r.from) + `)(/[\w./-]*)?`
	switch base := filepath.Base(name); {
	case base == "go.mod":
		return r.replace(`(?m)(^(?:module |\s+|require |replace ))` + path + `( |$)`)
	case base == ".golangci.yml":
		return r.replace(`(pkg: )`+path+`()`, `(\[|, )(`+regexp.QuoteMeta(r.from)+`)(/[\w./-]+)()`)
	case base == "grafana.json":
		return r.replace(`(go_build_info\{path=\\")` + path + `(\\")`)
	case filepath.Ext(name) == ".go":
		return r.imports
	case filepath.Ext(name) == ".md":
		// Only Go code is changed. It is an import, alone or in a block, a command such as go get, or the name of a package
		// in the module. The module's own name is not changed, because it is the product's name too.
		return r.replace(`(?m)(^\s*"|import (?:\w+ )?")`+path+`(")`, `(go (?:get|doc|install) )`+path+`([\s@`+"`"+`])`,
			`(-replace )`+path+`(=)`, "(`)("+regexp.QuoteMeta(r.from)+")(/[\\w./-]+)(`)")
	}
	return nil
}

// replace changes the path in every match of the patterns. The groups of a pattern are the text before the path, the
// path, the package in the module, and the text after it.
func (r renamer) replace(patterns ...string) func([]byte) ([]byte, error) {
	return func(text []byte) ([]byte, error) {
		for _, p := range patterns {
			text = regexp.MustCompile(p).ReplaceAll(text, []byte("${1}"+r.to+"${3}${4}"))
		}
		return text, nil
	}
}

// imports changes the import paths of Go code.
func (r renamer) imports(source []byte) ([]byte, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	after := source
	for _, spec := range slices.Backward(file.Imports) {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		rest, ok := strings.CutPrefix(path, r.from)
		if !ok || rest != "" && rest[0] != '/' {
			continue
		}
		at := files.Position(spec.Path.Pos()).Offset
		after = slices.Concat(after[:at], []byte(strconv.Quote(r.to+rest)), after[at+len(spec.Path.Value):])
	}
	if len(after) == len(source) {
		return source, nil
	}
	return format.Source(after)
}
