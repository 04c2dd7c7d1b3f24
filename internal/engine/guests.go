package engine

import (
	"maps"
	"net/netip"
	"time"

	"headcount/internal/lockorder"
)

// guestsPerStream is how many guests an address may have at once, plus as many again for each of its streams. One
// request of a leading tab names at most this many ids.
const guestsPerStream = 100

// guest is a user that is known only by renewals. Tabs that share the stream of another tab are guests. Anybody can
// make up any number of ids, so each address has a limit.
type guest struct{ room, id string }

// overtaking is how much later than the goodbye of a page a renewal may arrive that was sent before it. They come on two
// connections. A client that leaves at once, by a goodbye without a grace period, knows what it has sent.
const overtaking = 2 * time.Second

// repeating is how far apart the ends of a goodbye and of its repetition may be. Another tab repeats the goodbye of a page
// a moment later, with what is left of the grace period, because the first one may have been lost. The page may be back
// by then, so a repetition says nothing new.
const repeating = 400 * time.Millisecond

// maxGoodbyes limits how many goodbyes are remembered. Anybody can send any number of them.
const maxGoodbyes = 50_000

// guests holds all guests of this node. The zero value is ready to use.
type guests struct {
	mu   lockorder.Mutex[lockorder.Leaf]
	from map[guest]netip.Prefix               // the address whose request named the guest
	per  map[netip.Prefix]map[guest]time.Time // when its lease ends
	left map[guest]goodbye                    // of users that said goodbye with a grace period; until overtaking is over
}

// goodbye is a goodbye with a grace period.
type goodbye struct {
	received time.Time
	grace    time.Duration
}

func (b goodbye) over(now time.Time) bool { return now.Sub(b.received) >= b.grace+overtaking }

// repeats reports whether a goodbye repeats an earlier one.
func (b goodbye) repeats(last goodbye) bool {
	later := b.received.Add(b.grace).Sub(last.received.Add(last.grace))
	return b.grace < last.grace && later.Abs() < repeating
}

// hasLeft reports whether a user has just said goodbye.
func (g *guests) hasLeft(room, id string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.left[guest{room, id}].over(now)
}

// leave notes that users say goodbye. It returns those whose goodbye does not only repeat their last one.
func (g *guests) leave(room string, ids []string, now time.Time, grace time.Duration) (leaving []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left == nil {
		g.left = make(map[guest]goodbye)
	}
	if len(g.left)+len(ids) > maxGoodbyes {
		for one := range g.left { // any, and many at once, so that this is rare
			if delete(g.left, one); len(g.left) <= maxGoodbyes*9/10 {
				break
			}
		}
	}
	for _, id := range ids {
		one, bye := guest{room, id}, goodbye{now, grace}
		if !bye.repeats(g.left[one]) {
			g.left[one] = bye
			leaving = append(leaving, id)
		}
	}
	return leaving
}

// admit returns the ids that the address may add, of at most that many guests. These ids are guests from now on.
func (g *guests) admit(from netip.Prefix, room string, ids []string, now time.Time, most int) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.from == nil {
		g.from, g.per = make(map[guest]netip.Prefix), make(map[netip.Prefix]map[guest]time.Time)
	}
	own := g.per[from]
	if len(own)+len(ids) > most {
		g.trimOne(from, now)
		own = g.per[from]
	}
	ids = ids[:max(0, min(len(ids), most-len(own)))]
	if own == nil && len(ids) > 0 {
		own = make(map[guest]time.Time)
		g.per[from] = own
	}
	for _, id := range ids {
		one := guest{room, id}
		own[one], g.from[one] = now.Add(LeaseTime), from
	}
	return ids
}

// renew extends the lease of a guest by LeaseTime. It ignores users that are not guests.
func (g *guests) renew(room, id string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := guest{room, id}
	if from, ok := g.from[one]; ok {
		g.per[from][one] = now.Add(LeaseTime)
	}
}

// forget removes guests that have said goodbye.
func (g *guests) forget(room string, ids []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		one := guest{room, id}
		from, ok := g.from[one]
		if !ok {
			continue
		}
		delete(g.from, one)
		delete(g.per[from], one)
		if len(g.per[from]) == 0 {
			delete(g.per, from)
		}
	}
}

// trim removes the guests whose lease has ended, and old goodbyes.
func (g *guests) trim(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.left, func(_ guest, b goodbye) bool { return b.over(now) })
	for from := range g.per {
		g.trimOne(from, now)
	}
}

// trimOne is trim for one address. The caller holds g.mu.
func (g *guests) trimOne(from netip.Prefix, now time.Time) {
	own := g.per[from]
	for one, until := range own {
		if !until.After(now) {
			delete(own, one)
			delete(g.from, one)
		}
	}
	if len(own) == 0 {
		delete(g.per, from)
	}
}
