package hub

import "time"

// Pacing of states. When a room is quiet a change is shown at once. While changes
// keep coming, each showing waits for the last one's cost: from its begin, share times
// as long as the last pass over the readers took, so that telling the count costs at
// most half of the time (with more the last of 10,000 who join at once would be told
// too late); and the waits grow up to calm, because nobody reads a number
// that moves more often than that. The last change is always shown.
const (
	minPace = 20 * time.Millisecond
	calm    = 150 * time.Millisecond
	maxPace = time.Second
	share   = 2
)

type pace struct {
	wait  time.Duration // after the last showing
	pass  time.Duration // what the last pass over the readers took
	shown time.Time
	armed bool
	timer *time.Timer
}

// due is called after each change, with the room's lock held.
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
	if r.pace.armed { // and no event has taken it with it meanwhile
		r.pace.waited(r)
	}
}

// join has a change that waits go with an event, with the room's lock held: a pass over
// the readers that is due anyway costs little more with it, and it needs none of its own.
func (p *pace) join(r *Room) {
	if p.armed && time.Since(p.shown) >= minPace {
		p.timer.Stop()
		p.waited(r)
	}
}

func (p *pace) waited(r *Room) {
	p.armed = false
	p.wait = min(p.wait*3/2, calm)
	p.show(r)
}

func (p *pace) show(r *Room) {
	p.wait = min(max(p.wait, share*p.pass), maxPace)
	p.pass = 0
	p.shown = time.Now()
	r.publish()
}

// Took says how long a pass over the readers took, from the news to the last write
// that it caused. Each writer says it for each of its passes.
func (r *Room) Took(pass time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pace.pass = max(r.pace.pass, pass)
	r.pace.wait = min(max(r.pace.wait, share*pass), maxPace)
}

// Passed is Took for a pass over all readers that a writer has in the room; Options.Passed
// is told of it.
func (r *Room) Passed(took time.Duration) {
	r.Took(took)
	if r.hub.opt.Passed != nil {
		r.hub.opt.Passed(took)
	}
}

// Told returns when the last piece of news came.
func (r *Room) Told() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told
}
