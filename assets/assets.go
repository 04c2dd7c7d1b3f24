// Package assets is what the server hands to browsers, embedded: the client io.js and io.mjs with its types, and the
// scripts, styles and icon of the pages.
//
// io.js and io.mjs are built from src/io.mjs, doctor.js from src/doctor.mjs; a test in build/ fails when they are not what it builds.
package assets

import "embed"

//go:generate go run ./build

// FS holds the files named here and nothing else.
//
//go:embed io.js io.mjs io.d.ts io.d.mts doctor.js chart.js page.js stats.js style.css stats.css docs.css icon.svg
var FS embed.FS
