package page_test

import (
	"html"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"headcount/docs"
	"headcount/internal/bubble"
	"headcount/internal/page"
)

// Every link of every document leads to a document, to a heading in it, or to another site.
func TestDocs(t *testing.T) {
	h, _ := newPagesServer(t, page.Options{Version: "headcount 1"})
	links := regexp.MustCompile(`(?:href|src)="([^"]*)"`)
	pages := map[string]string{} // by path
	var visit func(path string)
	visit = func(path string) {
		if _, ok := pages[path]; ok || !strings.HasPrefix(path, "/docs/") {
			return
		}
		w := bubble.Get(h, path)
		pages[path] = w.Body.String()
		if w.Code != http.StatusOK {
			t.Errorf("%s: got %d %s", path, w.Code, w.Body)
		}
		if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			return
		}
		for _, link := range links.FindAllStringSubmatch(w.Body.String(), -1) {
			to, err := (&url.URL{Path: path}).Parse(html.UnescapeString(link[1]))
			switch {
			case err != nil:
				t.Errorf("%s links to %q: %v", path, link[1], err)
			case to.Host == "":
				visit(to.Path)
				if to.Fragment != "" && !strings.Contains(pages[to.Path], ` id="`+to.Fragment+`"`) {
					t.Errorf("%s links to %s, which has no such heading", path, to)
				}
			}
		}
	}
	visit("/docs/")
	documents := []string{"design.svg", "openapi.yaml"}
	for _, pattern := range []string{"*.md", "decisions/*.md"} {
		found, err := fs.Glob(docs.FS, pattern)
		if err != nil || len(found) < 10 {
			t.Fatalf("found the documents %v, %v", found, err)
		}
		documents = append(documents, found...)
	}
	for _, document := range documents {
		if document != "README.md" && pages["/docs/"+document] == "" { // that one is /docs/ itself
			t.Errorf("no link leads from /docs/ to %s", document)
		}
		if strings.Contains(pages["/docs/"+document], "<th></th>") {
			t.Errorf("%s has a table with an empty header cell, which screen readers cannot read out", document)
		}
	}
	decisions, err := fs.Glob(docs.FS, "decisions/0*.md")
	if err != nil {
		t.Fatal(err)
	}
	list := html.UnescapeString(pages["/docs/decisions/README.md"])
	for _, name := range decisions {
		text, err := fs.ReadFile(docs.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		title, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		if !strings.Contains(list, ">"+title+"</a>") {
			t.Errorf("decisions/README.md does not list %q", title)
		}
	}
	if body := pages["/docs/browser.md"]; !strings.Contains(body, "The documentation of headcount 1.") || !strings.Contains(body, `<table tabindex="0">`) {
		t.Errorf("got %s", body)
	}
	for _, path := range []string{"/docs/none.md", "/docs/../page.go", "/docs/decisions", "/docs//"} {
		r := bubble.Get(h, path)
		if r.Code == http.StatusOK {
			t.Errorf("%s: got 200", path)
		}
	}
	if got := bubble.Get(h, "/docs/design.svg").Header().Get("Content-Type"); got != "image/svg+xml" {
		t.Errorf("a picture: got the type %q", got)
	}
}
