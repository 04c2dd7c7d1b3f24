package proxies

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"headcount/test/rig"
)

var writePage = flag.Bool("page", false, "write the tables that come out into docs/proxies.md")

func pagePath() string { return rig.Root() + "/docs/proxies.md" }

// publish prints a table, at once since other tests print too, and writes it into the
// page, behind the line with its name, if that is asked for.
func publish(t *testing.T, name, table string) {
	t.Helper()
	fmt.Println("\n" + table)
	if !*writePage || t.Failed() {
		return
	}
	text, err := os.ReadFile(pagePath())
	if err != nil {
		t.Fatalf("read page: %v", err)
	}
	mark := "<!-- table: " + name + " -->\n"
	before, after, found := strings.Cut(string(text), mark)
	_, after, ended := strings.Cut(after, "<!-- end -->\n")
	if !found || !ended {
		t.Fatalf("page has no place for table %q", name)
	}
	if err := os.WriteFile(pagePath(), []byte(before+mark+table+"<!-- end -->\n"+after), 0o644); err != nil {
		t.Fatalf("write page: %v", err)
	}
}

// The page advises what the tests run, word for word, and its tables have every
// configuration, with the verdict that the tests expect.
func TestPage(t *testing.T) {
	read, err := os.ReadFile(pagePath())
	if err != nil {
		t.Fatal(err)
	}
	text := string(read)
	for _, p := range All() {
		if row := fmt.Sprintf("| %s | %s |", p.Name, p.Streams); !strings.Contains(text, row) {
			t.Errorf("the page's tables have no row %q", row)
		}
		if !p.Shown {
			continue
		}
		file, err := os.ReadFile(here("testdata", p.File))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, "\n```\n"+string(file)+"```\n") {
			t.Errorf("the page does not have %s as the tests run it", p.File)
		}
	}
}
