// Package version describes the running build.
package version

import (
	"runtime"
	"runtime/debug"
)

// String returns a line such as "headcount v1.2.0 (4f0e9ad3b6c1) go1.26.8 linux/amd64". The version comes from the last
// tag. It is (devel) without git, as with "go run". It ends with "+dirty" if files have changed since the commit.
func String() string {
	text := "headcount "
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return text + "of unknown version"
	}
	text += info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			text += " (" + s.Value[:min(12, len(s.Value))] + ")"
		}
	}
	return text + " " + info.GoVersion + " " + runtime.GOOS + "/" + runtime.GOARCH
}
