package engine

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// lease is the state of a stream that proves nothing by being open.
type lease struct {
	named     bool      // it has a client id, and is pinged; streams without id only get old
	voluntary bool      // it need not answer; without any answer, it counts by being open
	strict    bool      // it counts only by its answers; guarded by registry.mu
	opened    time.Time // guarded by registry.mu
	pinged    time.Time // guarded by registry.mu
	confirmed atomic.Bool
}

func newLease(named, voluntary bool) *lease {
	now := time.Now()
	return &lease{named: named, voluntary: voluntary, strict: !voluntary, opened: now, pinged: now}
}

// minLeases is how many users may be counted by a lease alone, at least.
const minLeases = 100_000

// Renew counts the client ids for another LeaseTime, on the node where they are counted now, or else on this node. It
// limits how many new ids it counts on this node.
func (e *Engine) Renew(ctx context.Context, from netip.Prefix, room string, ids []string) error {
	if !e.freezer.enter() {
		return moved()
	}
	r := e.hub.Open(room) // a user that is counted only by a lease needs an open room too
	here := e.renewKnown(room, ids)
	var unknown []string
	rest := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(here, id) })
	if len(rest) > 0 {
		e.freezer.leave() // other nodes may take a while
		unknown = e.node.Renew(ctx, room, rest)
		if !e.freezer.enter() {
			return moved() // the other process may do all of this again
		}
	}
	defer e.freezer.leave()
	defer e.hub.Close(r)
	err := e.invite(from, room, unknown)
	e.recount(room)
	e.wakeExpiry()
	return err
}

// invite counts ids that no node counts.
func (e *Engine) invite(from netip.Prefix, room string, ids []string) error {
	now := time.Now()
	ids = slices.DeleteFunc(ids, func(id string) bool { return e.guests.hasLeft(room, id, now) })
	if len(ids) > 0 && e.users.Leases()+len(ids) > e.maxLeases {
		return unavailable(MaxLeases, "too many users without a stream on this server; open a stream, or try again in a few seconds")
	}
	if !e.rates.allow(from, now, len(ids)) {
		return tooFast()
	}
	admitted := e.guests.admit(from, room, ids, now, guestsPerStream*(1+e.streams.of(from)))
	for _, id := range admitted {
		e.renew(room, id)
	}
	for _, id := range admitted {
		if e.guests.hasLeft(room, id, now) && !e.users.HasStream(room, id) { // it said goodbye meanwhile
			e.users.Leave(room, id)
			e.guests.forget(room, []string{id})
		}
	}
	if len(admitted) < len(ids) {
		return unavailable(MaxLeases, "too many users without a stream from your address; open a stream, or try again in a few seconds")
	}
	return nil
}

// renewKnown renews the leases of the ids that this node knows in the room, and returns these ids.
func (e *Engine) renewKnown(room string, ids []string) []string {
	var known []string
	for _, id := range ids {
		if e.users.Has(room, id) {
			known = append(known, id)
			e.renew(room, id)
		}
	}
	e.wakeExpiry()
	return known
}

// renew counts the id for another LeaseTime.
func (e *Engine) renew(room, id string) {
	now := time.Now()
	e.guests.renew(room, id, now)
	for _, open := range e.users.Renew(room, id, now.Add(LeaseTime)) {
		if st, ok := open.(*Stream); ok && st.lease != nil {
			st.lease.confirmed.Store(true)
		}
	}
}

// Leave removes the client ids from the count on every node, now or after grace unless they reconnect before.
func (e *Engine) Leave(room string, ids []string, grace time.Duration) error {
	if !e.freezer.enter() {
		return moved()
	}
	defer e.freezer.leave()
	if ids = e.leaveHere(room, ids, grace); len(ids) > 0 {
		e.node.Leave(room, ids, grace)
	}
	e.recount(room)
	return nil
}

// leaveHere removes the client ids from the count on this node. It returns those whose goodbye is not a repetition.
func (e *Engine) leaveHere(room string, ids []string, grace time.Duration) []string {
	now := time.Now()
	if grace > 0 {
		ids = e.guests.leave(room, ids, now, grace) // first, so that a renewal that comes in between does not count them again
		for _, id := range ids {
			e.users.LeaveBy(room, id, now.Add(grace))
		}
	} else {
		for _, id := range ids {
			e.users.Leave(room, id)
		}
		e.guests.forget(room, ids)
	}
	e.wakeExpiry()
	e.recount(room)
	if grace == 0 {
		e.traceUsers("left", room)
	}
	return ids
}

// tendLeases pings the leased streams that are due. It ends streams that never answered, and streams of proxied
// subscribers without id that are too old. A client that need not answer must keep answering after its first answer.
func (e *Engine) tendLeases(now time.Time) {
	due := e.streams.dueLeases(now, e.opt.MaxAge)
	for _, st := range due.held {
		e.users.Lease(&st.ticket, now.Add(LeaseTime))
	}
	for _, st := range due.pinged {
		st.ping()
	}
	for _, st := range due.old {
		st.End(Retry())
	}
	for _, st := range due.silent {
		st.endFor(soon(), st.returnTime())
	}
}

// postpone gives streams that have not answered more time.
func (r *registry) postpone(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, st := range r.streams {
		if st.lease != nil {
			st.lease.opened = st.lease.opened.Add(d)
		}
	}
}

// dueLeases lists the streams that need an action.
type dueLeases struct {
	pinged []*Stream // the next ping is due
	silent []*Stream // they never answered
	old    []*Stream // without id, and open longer than Options.MaxAge
	held   []*Stream // they answered for the first time, although they need not
}

func (r *registry) dueLeases(now time.Time, maxAge time.Duration) (due dueLeases) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, st := range r.streams {
		l := st.lease
		switch {
		case l == nil:
		case !l.named:
			if now.Sub(l.opened) >= maxAge {
				due.old = append(due.old, st)
			}
		case !l.confirmed.Load():
			if !l.voluntary && now.Sub(l.opened) >= confirmWithin {
				due.silent = append(due.silent, st)
			}
		case !l.strict:
			l.strict = true
			due.held = append(due.held, st)
		case now.Sub(l.pinged) >= PingEvery:
			l.pinged = now
			due.pinged = append(due.pinged, st)
		}
	}
	return due
}
