package web

// A storm is so many newcomers without a second of calm between them, which has at most
// calmly of them.
const (
	stormy = 1000
	calmly = 10
)

// calm finds the end of a storm of newcomers. It leaves garbage and stacks that Go, once
// it has nothing to do, would keep for minutes: half of the memory of an idle server.
type calm struct{ came int }

// over is asked once a second, with how many came since; it returns true once behind each
// storm.
func (c *calm) over(newcomers int) bool {
	c.came += newcomers
	if newcomers > calmly || c.came < stormy {
		return false
	}
	c.came = 0
	return true
}
