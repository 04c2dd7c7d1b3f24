package doctor

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"strings"
	"testing"
)

// The doctor of the page gives the same advice in the same words. They are in another language, and so written twice.
func TestAdviceOfPage(t *testing.T) {
	page, err := os.ReadFile("../../assets/src/diagnosis.mjs")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "advice.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	conf := types.Config{Error: func(error) {}} // the constants do not need the other files
	pkg, _ := conf.Check("doctor", fset, []*ast.File{file}, nil)
	var found int
	for _, name := range pkg.Scope().Names() {
		c, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok || !strings.HasPrefix(name, "advice") {
			continue
		}
		found++
		advice := constant.StringVal(c.Val())
		if !strings.Contains(string(page), advice) {
			t.Errorf("assets/src/diagnosis.mjs lacks %s: %q", name, advice)
		}
	}
	if found < 15 {
		t.Errorf("found %d constants with advice, want all", found)
	}
}
