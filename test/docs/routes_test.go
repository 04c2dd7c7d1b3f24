package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"headcount/test/rig"
)

// Where the routes of the public listener are written, and how.
var routes = []struct {
	file  string
	route *regexp.Regexp // of one route
	few   int            // fewer than these have not been found
	read  string         // the word for GET and HEAD
}{
	{"server/app.go", regexp.MustCompile(`(?m)^\te?\.?(?P<method>get|POST|GET|PUT|DELETE)\("(?P<path>/[^"]*)"`), 8, "get"},
	{"internal/httpapi/handler.go", regexp.MustCompile(`(?m)^\t\t"(?P<path>[\w./]+)":\s+\{(?P<method>read|write), `), 6, "read"},
}

// Every route of the server is in docs/openapi.yaml, with its method.
func TestEveryRouteIsDescribed(t *testing.T) {
	doc := loadOpenAPI(t)
	variable := regexp.MustCompile(`:(\w+)`)
	for _, r := range routes {
		source, err := os.ReadFile(filepath.Join(rig.Root(), r.file))
		if err != nil {
			t.Fatal(err)
		}
		found := r.route.FindAllStringSubmatch(string(source), -1)
		if len(found) < r.few {
			t.Errorf("found %d routes in %s, want %d or more: are they written in another way now?", len(found), r.file, r.few)
		}
		for _, route := range found {
			method := "POST"
			if route[r.route.SubexpIndex("method")] == r.read {
				method = "GET"
			}
			path := "/" + strings.TrimPrefix(route[r.route.SubexpIndex("path")], "/")
			path = variable.ReplaceAllString(strings.ReplaceAll(path, "*", "{file}"), "{$1}")
			if item := doc.Paths.Value(path); item == nil || item.GetOperation(method) == nil {
				t.Errorf("%s has the route %s %s, and docs/openapi.yaml has not", r.file, method, path)
			}
		}
	}
}
