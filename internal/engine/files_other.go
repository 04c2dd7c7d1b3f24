//go:build !unix

package engine

// FileLimit returns 0, because this system has no such limit.
func FileLimit() int { return 0 }
