// Package templates is the pages the server renders, embedded, for html/template.
package templates

import "embed"

// FS holds the files named here and nothing else.
//
//go:embed chart.html docs.html error.html head.html home.html stats.html
var FS embed.FS
