// Package docs is the documentation, embedded, so that a server can show the docs of its own version.
package docs

import "embed"

// FS holds the documents, and the files that they link to.
//
//go:embed *.md *.svg *.json *.yaml benchmarks/*.md benchmarks/*.svg benchmarks/tls/*.svg decisions/*.md
var FS embed.FS
