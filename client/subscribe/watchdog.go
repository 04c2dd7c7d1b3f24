package subscribe

import (
	"io"
	"sync"
	"time"

	"headcount/client/remote"
)

// watchdog calls bark when a read takes longer than the limit, because then nothing came, not even a comment. It does
// not count the time between two reads, in which the program is busy.
type watchdog struct {
	timer *time.Timer

	mu      sync.Mutex
	limit   time.Duration
	waiting bool
}

// newWatchdog returns a watchdog that already waits for the answer to the request.
func newWatchdog(limit time.Duration, bark func()) *watchdog {
	return &watchdog{timer: time.AfterFunc(limit, bark), limit: limit, waiting: true}
}

func (d *watchdog) wait(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = on
	if on {
		d.timer.Reset(d.limit)
	} else {
		d.timer.Stop()
	}
}

// setLimit changes the limit, also for a read in progress.
func (d *watchdog) setLimit(limit time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = limit
	if d.waiting {
		d.timer.Reset(limit)
	}
}

// watched is a response body whose reads the watchdog times.
type watched struct {
	io.ReadCloser
	dog *watchdog
}

func (w *watched) Read(p []byte) (int, error) {
	w.dog.wait(true)
	n, err := w.ReadCloser.Read(p)
	w.dog.wait(false)
	return n, err
}

// body is what the parser reads. It has only the complete events of a watched response.
type body struct {
	io.Reader
	io.Closer
}

func newBody(resp io.ReadCloser, dog *watchdog) io.ReadCloser {
	w := &watched{resp, dog}
	return &body{remote.NewWholeEvents(w), w}
}
