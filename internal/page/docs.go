package page

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	tables "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"headcount/docs"
	"headcount/internal/httpapi"
)

// docView is the data for templates/docs.html.
type docView struct {
	Root    string // the URL of /, relative to the document
	Title   string
	Body    template.HTML
	Version string
}

// Docs serves GET /docs/*. name is the rest of the path. A directory shows its README.md.
func (p *Pages) Docs(w http.ResponseWriter, r *http.Request, name string) error {
	if name == "" || strings.HasSuffix(name, "/") {
		name += "README.md"
	}
	source, err := fs.ReadFile(docs.FS, name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid):
		return httpapi.NotFound("there is no such document; the list is at /docs/")
	case err != nil:
		return fmt.Errorf("read document: %w", err)
	}
	w.Header().Set("Cache-Control", "no-cache")
	switch path.Ext(name) {
	case ".md":
		return p.document(w, r, name, source)
	case ".svg":
		w.Header().Set("Content-Type", "image/svg+xml")
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'") // an SVG opened by itself runs nothing
	_, _ = w.Write(source)                                                                     // the client may have gone
	return nil
}

// document responds with a document as a page.
func (p *Pages) document(w http.ResponseWriter, r *http.Request, name string, source []byte) error {
	view, ok := p.documents.Load(name)
	if !ok {
		made, err := p.newDocView(name, source)
		if err != nil {
			return err
		}
		view, _ = p.documents.LoadOrStore(name, made)
	}
	return p.Render(w, r, http.StatusOK, "docs.html", view)
}

// newDocView renders a document. That takes milliseconds, and anybody may request it.
func (p *Pages) newDocView(name string, source []byte) (docView, error) {
	markdown := goldmark.New(
		goldmark.WithExtensions(extension.Table),
		goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithASTTransformers(util.Prioritized(served{name}, 0))),
	)
	var body bytes.Buffer
	if err := markdown.Convert(source, &body); err != nil {
		return docView{}, fmt.Errorf("render %s: %w", name, err)
	}
	title, _, _ := strings.Cut(strings.TrimPrefix(string(source), "# "), "\n")
	root := strings.Repeat("../", 1+strings.Count(name, "/"))
	return docView{root, title, template.HTML(body.String()), p.version}, nil // the document is ours
}

// served leaves only the links that work on a server, because it has the docs but not the rest of the repository. It
// turns every other link into its text.
type served struct{ name string }

// Transform implements [parser.ASTTransformer].
func (s served) Transform(doc *ast.Document, _ text.Reader, _ parser.Context) {
	var dead []*ast.Link
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Link:
			if entering && !s.works(string(n.Destination)) {
				dead = append(dead, n)
			}
		case *tables.Table:
			n.SetAttributeString("tabindex", "0") // a wide table scrolls, also by keyboard
		}
		return ast.WalkContinue, nil
	})
	for _, link := range dead {
		parent := link.Parent()
		for child := link.FirstChild(); child != nil; child = link.FirstChild() {
			parent.InsertBefore(parent, link, child)
		}
		parent.RemoveChild(parent, link)
	}
}

// works reports whether a link of the document leads to another site or to a file that is served.
func (s served) works(link string) bool {
	u, err := url.Parse(link)
	if err != nil || u.Host != "" || u.Path == "" {
		return err == nil
	}
	_, err = fs.Stat(docs.FS, path.Join(path.Dir(s.name), u.Path))
	return err == nil
}
