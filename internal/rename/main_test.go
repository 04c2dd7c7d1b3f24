package main

import (
	"strings"
	"testing"
)

func TestRenamesThePathAlone(t *testing.T) {
	for _, row := range []struct{ file, before, after string }{
		{"go.mod", "module headcount\n", "module example.com/x\n"},
		{"test/go.mod", "module headcount/test\n\nrequire (\n\theadcount v0.0.0\n\texample.org/headcount v1.0.0\n)\n\nreplace headcount => ../\n",
			"module example.com/x/test\n\nrequire (\n\texample.com/x v0.0.0\n\texample.org/headcount v1.0.0\n)\n\nreplace example.com/x => ../\n"},
		{".golangci.yml", "# headcount, and no more\nallow: [headcount/internal/sse, headcount/nats, headcount/assets]\ndeny: [{pkg: headcount, desc: \"nothing of headcount\"}]\n",
			"# headcount, and no more\nallow: [example.com/x/internal/sse, example.com/x/nats, example.com/x/assets]\ndeny: [{pkg: example.com/x, desc: \"nothing of headcount\"}]\n"},
		{"deploy/grafana.json", `"title": "headcount", "go_build_info{path=\"headcount\", job=\"headcount\"}"`,
			`"title": "headcount", "go_build_info{path=\"example.com/x\", job=\"headcount\"}"`},
		{"server/main.go", "package main\n\nimport (\n\t\"fmt\"\n\n\t\"headcount\"\n\thub \"headcount/internal/hub\"\n)\n\nvar prefix, x = \"headcount\", fmt.Sprint(\"headcount/hub\", hub.New, headcount.New)\n",
			"package main\n\nimport (\n\t\"fmt\"\n\n\t\"example.com/x\"\n\thub \"example.com/x/internal/hub\"\n)\n\nvar prefix, x = \"headcount\", fmt.Sprint(\"headcount/hub\", hub.New, headcount.New)\n"},
		{"README.md", "Package `headcount/nats` of `headcount` is in `/run/headcount/nats` and `go get headcount/nats`.\n",
			"Package `example.com/x/nats` of `headcount` is in `/run/headcount/nats` and `go get example.com/x/nats`.\n"},
		{"docs/embedding.md", "$ go mod edit -replace headcount=../headcount\n$ go mod tidy\n", "$ go mod edit -replace example.com/x=../headcount\n$ go mod tidy\n"},
		{"docs/embedding.md", "headcount: `go get headcount`\n\n    import (\n        \"headcount\"\n        \"headcount/nats\"\n    )\n\nA \"headcount\" is `import \"headcount\"`.\n",
			"headcount: `go get example.com/x`\n\n    import (\n        \"example.com/x\"\n        \"example.com/x/nats\"\n    )\n\nA \"headcount\" is `import \"example.com/x\"`.\n"},
	} {
		after, err := renamer{"headcount", "example.com/x"}.changer(row.file)([]byte(row.before))
		if err != nil || string(after) != row.after {
			t.Errorf("%s: got\n%s%v\nwant\n%s", row.file, after, err, row.after)
		}
		back, err := renamer{"example.com/x", "headcount"}.changer(row.file)(after)
		if err != nil || string(back) != row.before {
			t.Errorf("%s, back again: got\n%s%v\nwant\n%s", row.file, back, err, row.before)
		}
	}
	for _, file := range []string{"README.txt", "deploy/alerts.yml", "assets/io.js"} {
		if (renamer{"headcount", "x"}).changer(file) != nil {
			t.Errorf("%s would be changed", file)
		}
	}
}

func TestRefusesWhatIsNoPath(t *testing.T) {
	for _, path := range []string{"", "headcount", "github.com", "https://github.com/you/headcount", "github.com/you/head count", "../x", "github.com/you/", "a.b/$1"} {
		if _, err := rename(t.TempDir(), path); err == nil || !strings.Contains(err.Error(), "no path of a module") {
			t.Errorf("%q: got %v, want that it is no path", path, err)
		}
	}
}
