package engine

// A storm is that many new streams without an idle second in between. An idle second has at most idleNewcomers of
// them.
const (
	stormNewcomers = 1000
	idleNewcomers  = 10
)

// storm detects the end of a storm. A storm leaves garbage and goroutine stacks that Go keeps for minutes once it is
// idle. They are half of the memory of an idle server.
type storm struct{ newcomers int }

// over takes the number of new streams since the last call. Call it once a second. It reports whether a storm has just
// ended.
func (s *storm) over(newcomers int) bool {
	s.newcomers += newcomers
	if newcomers > idleNewcomers || s.newcomers < stormNewcomers {
		return false
	}
	s.newcomers = 0
	return true
}
