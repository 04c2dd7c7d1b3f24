package auth

import (
	"slices"
	"strings"

	"headcount/internal/sse"
)

// ParseRooms reads a comma-separated list of room patterns.
func ParseRooms(list string) ([]string, error) {
	var patterns []string
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if one == "" && list == "" {
			break
		}
		if err := sse.CheckRoom(one); err != nil {
			return nil, err
		}
		patterns = append(patterns, one)
	}
	return patterns, nil
}

// anyMatch reports whether one of the patterns matches the name.
func anyMatch(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return Match(p, name) })
}

// Match reports whether the pattern matches the name. A * matches any text, including a slash and the empty text. Every
// other character matches itself.
func Match(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return name == pattern
	}
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(name, part)
		if !found {
			return false
		}
		name = after
	}
	return true
}
