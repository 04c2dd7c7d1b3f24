package engine

// A storm is that many new streams without a quiet second in between. A quiet second has at most quietNewcomers of
// them.
const (
	stormNewcomers = 1000
	quietNewcomers = 10
)

// storm detects the end of a storm. A storm leaves garbage and goroutine stacks that Go keeps for minutes once it is
// idle. They are half of the memory of an idle server.
type storm struct{ newcomers int }

// over takes the number of new streams since the last call. Call it once a second. It reports whether a storm has just
// ended.
func (s *storm) over(newcomers int) bool {
	s.newcomers += newcomers
	if newcomers > quietNewcomers || s.newcomers < stormNewcomers {
		return false
	}
	s.newcomers = 0
	return true
}
