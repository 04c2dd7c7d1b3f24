package doctor

import (
	"fmt"
	"io"
	"time"

	"headcount/client/terminal"
)

// progress shows on a terminal what the doctor is doing, in one line that is erased afterwards. Without a terminal it
// shows nothing. Use it from one goroutine.
type progress struct {
	w     io.Writer
	done  chan struct{} // closed to end the line; nil if there is none
	ended chan struct{}
}

func newProgress(w io.Writer) *progress {
	if !terminal.Is(w) {
		w = nil
	}
	return &progress{w: w}
}

// start shows a line that counts seconds, up to total if that is known.
func (p *progress) start(text string, total time.Duration) {
	p.stop()
	if p.w == nil {
		return
	}
	p.done, p.ended = make(chan struct{}), make(chan struct{})
	go p.show(text, total, p.done, p.ended)
}

func (p *progress) show(text string, total time.Duration, done <-chan struct{}, ended chan<- struct{}) {
	defer close(ended)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	columns, _ := terminal.Size(p.w)
	for begin := time.Now(); ; {
		line := fmt.Sprintf("%.0f s  %s", time.Since(begin).Seconds(), text)
		if total > 0 {
			line = fmt.Sprintf("%.0f s of at most %.0f s  %s", time.Since(begin).Seconds(), total.Seconds(), text)
		}
		fmt.Fprintf(p.w, "\r%s\x1b[K", line[:min(len(line), columns-1)])
		select {
		case <-done:
			fmt.Fprint(p.w, "\r\x1b[K")
			return
		case <-tick.C:
		}
	}
}

// stop erases the line.
func (p *progress) stop() {
	if p.done == nil {
		return
	}
	close(p.done)
	<-p.ended
	p.done = nil
}
