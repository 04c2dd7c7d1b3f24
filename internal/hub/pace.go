package hub

import "time"

// Throttling of states. While a room is quiet, a change is published at once. While changes keep coming, the next
// publication waits until share times the duration of the last pass over the subscribers has gone by, counted from the
// start of that pass. So publishing the count takes at most half of the time. With a larger share, the last of 10,000
// clients that join at once would get the count too late. The delays grow up to readPace, because nobody reads a number
// that changes more often than that. The last change is always published.
const (
	minPace  = 20 * time.Millisecond
	readPace = 150 * time.Millisecond
	maxPace  = time.Second
	share    = 2
)

type pace struct {
	wait  time.Duration // after the last publication
	pass  time.Duration // how long the last pass over the subscribers took
	shown time.Time
	armed bool
	timer *time.Timer
}

// due is called after each change. The caller holds the lock of the room.
func (p *pace) due(r *Room) {
	if p.armed {
		return
	}
	if left := p.wait - time.Since(p.shown); left > 0 && !p.shown.IsZero() {
		p.armed = true
		if p.timer == nil {
			p.timer = time.AfterFunc(left, func() { r.shownLater() })
		} else {
			p.timer.Reset(left)
		}
		return
	}
	p.wait = minPace
	p.show(r)
}

func (r *Room) shownLater() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pace.armed { // and no event has published it in the meantime
		r.pace.waited(r)
	}
}

// join publishes a delayed change together with an event. The caller holds the lock of the room. The event needs a pass
// over the subscribers anyway, so the change costs little more and needs no pass of its own.
func (p *pace) join(r *Room) {
	if p.armed && time.Since(p.shown) >= minPace {
		p.timer.Stop()
		p.waited(r)
	}
}

func (p *pace) waited(r *Room) {
	p.armed = false
	p.wait = min(p.wait*3/2, readPace)
	p.show(r)
}

func (p *pace) show(r *Room) {
	p.wait = min(max(p.wait, share*p.pass), maxPace)
	p.pass = 0
	p.shown = time.Now()
	r.publish()
}

// Took reports how long a pass over the subscribers took, from the news to the last write that it caused. Each writer
// calls it after each of its passes.
func (r *Room) Took(pass time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pace.pass = max(r.pace.pass, pass)
	r.pace.wait = min(max(r.pace.wait, share*pass), maxPace)
}

// Passed is Took for a pass over all subscribers that a writer has in the room. It calls Options.Passed.
func (r *Room) Passed(took time.Duration) {
	r.Took(took)
	if r.hub.opt.Passed != nil {
		r.hub.opt.Passed(took)
	}
}

// Notified returns when the last piece of news came.
func (r *Room) Notified() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.notified
}
