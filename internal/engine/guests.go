package engine

import (
	"net/netip"
	"sync"
	"time"
)

// guestsPerStream is how many guests an address may have at once, and as many more for each stream that it has. It is what
// one request of a leading tab names at most.
const guestsPerStream = 100

// guest is a user that nothing but a renewal has brought. Tabs that follow the stream of another tab are guests. But an id
// is only a word, and anybody can make up any number, so each address has a bound.
type guest struct{ room, id string }

// guests are all guests of this node. The zero value is ready.
type guests struct {
	mu   sync.Mutex
	from map[guest]netip.Prefix               // the address that brought it
	per  map[netip.Prefix]map[guest]time.Time // when its lease ends
}

// admit returns those of the ids that the address may bring, of which it may have so many. They are guests from now on.
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

// renew has a user that is a guest be one for another LeaseTime.
func (g *guests) renew(room, id string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := guest{room, id}
	if from, ok := g.from[one]; ok {
		g.per[from][one] = now.Add(LeaseTime)
	}
}

// forget takes guests off the list that have said goodbye.
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

// trim forgets the guests whose lease is over.
func (g *guests) trim(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for from := range g.per {
		g.trimOne(from, now)
	}
}

// trimOne is trim for one address. g.mu is held.
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
