package engine

// A storm is so many newcomers without a quiet second between them, which has at most
// quietNewcomers of them.
const (
	stormNewcomers = 1000
	quietNewcomers = 10
)

// storm finds the end of a storm of newcomers. It leaves garbage and stacks that Go, once
// it has nothing to do, would keep for minutes: half of the memory of an idle server.
type storm struct{ newcomers int }

// over is asked once a second, with how many came since; it reports true once behind each
// storm.
func (s *storm) over(newcomers int) bool {
	s.newcomers += newcomers
	if newcomers > quietNewcomers || s.newcomers < stormNewcomers {
		return false
	}
	s.newcomers = 0
	return true
}
