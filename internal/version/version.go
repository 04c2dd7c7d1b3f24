// Package version is what a build says of itself.
package version

import (
	"runtime"
	"runtime/debug"
)

// String is a line such as "headcount v1.2.0 (4f0e9ad3b6c1) go1.26.8 linux/amd64". The version is that of the last tag,
// or (devel) where there was no git to ask, as with "go run"; "+dirty" means that files were changed since the commit.
func String() string {
	words := "headcount "
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return words + "of unknown version"
	}
	words += info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			words += " (" + s.Value[:min(12, len(s.Value))] + ")"
		}
	}
	return words + " " + info.GoVersion + " " + runtime.GOOS + "/" + runtime.GOARCH
}
