package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/netip"
	"sync"
	"time"
	"unique"

	"headcount/internal/hub"
	"headcount/internal/presence"
	"headcount/internal/wire"
)

// state is where a stream is in its life. It only moves down this list, and each arrow is
// one of the methods behind it:
//
//	admitted   it has a place among the streams             Engine.Subscribe
//	counted    and a ticket: its user is in the count       Stream.count
//	open       a writer brings it what its room has to tell Stream.attach
//	ending     its end was asked for: the writer that it    Stream.End
//	           has, or gets, says goodbye
//	closed     place and ticket are given back              Stream.Close
type state uint8

const (
	admitted state = iota
	counted
	open
	ending
	closed
)

// Request asks for a subscription.
type Request struct {
	Room     string
	ClientID string // "" = none
	User     string // that it is counted as, see [Identified]; "" = the client id, or nobody in particular
	Cursor   string // Last-Event-ID, "" = none
	Poll     bool   // one answer with an end
	NoWait   bool   // which comes at once

	Proxied bool // a proxy is on the way, or may be
	Relayed bool // or something that only passes bytes on
	Browser bool // it wants a comment behind each last event, see wire.Push

	Address netip.Prefix // that limits count it under
	Until   time.Time    // when its permission ends, zero = never
}

// Stream is one subscriber that was let in.
type Stream struct {
	engine    *Engine
	room      *hub.Room
	ticket    *presence.Ticket
	lease     *lease   // nil if being open proves that its reader is there
	arrival   *arrival // until it has a writer
	address   unique.Handle[netip.Prefix]
	expiry    *expiry // nil if its permission does not end
	transport uint8   // guarded by registry.mu; index in Transports, and 1 more; 0 until something writes
	named     bool    // it has a client id, or is a poll
	detour    bool    // its client comes back by way of a proxy
	seldom    bool    // and not at once: it has many rooms to ask for
	state     state   // guarded by mu, as all that follows

	mu     sync.Mutex
	out    writer        // from attach on
	retry  time.Duration // what its reader is told at the end
	waited time.Duration // how much longer than the grace period its client is waited for
}

// Identified returns what a user is counted as whom the host knows by name. It is no client id,
// so no stranger can speak for such a user.
func Identified(name string) string { return "@" + name }

// arrival is what is known of a subscriber until it has a writer.
type arrival struct {
	hub.JoinOptions
	poller  string // name of a poll without client id
	browser bool
}

// writer is what wire has for one stream.
type writer interface {
	End(retry time.Duration)
	Ping()
}

// Subscribe lets a subscriber in and counts its user, so that its first count includes it.
// ctx is for what the backend has to ask. Call [Stream.Close] in any case.
func (e *Engine) Subscribe(ctx context.Context, want Request) (*Stream, error) {
	if !e.rates.allow(want.Address, time.Now(), 1) {
		return nil, tooFast()
	}
	if !e.freezer.enter() {
		return nil, stopping()
	}
	defer e.freezer.leave()
	user := cmp.Or(want.User, want.ClientID)
	st := &Stream{engine: e, named: user != "" || want.Poll, address: unique.Make(want.Address)}
	st.arrival = &arrival{browser: want.Browser, JoinOptions: hub.JoinOptions{
		ClientID: want.ClientID, Cursor: want.Cursor, Retry: e.retry(st.named), Heartbeat: e.opt.Heartbeat,
	}}
	switch {
	case want.Poll:
		if user == "" {
			user = st.namePoller()
		}
		st.detour, st.seldom = want.Proxied && want.ClientID != "", want.NoWait
		st.arrival.Retry, st.arrival.Newcomer = soon(), !e.users.Has(want.Room, user)
	case (want.Proxied || want.Relayed) && (want.ClientID != "" || e.opt.MaxAge > 0):
		st.lease = newLease(want.ClientID != "", !want.Proxied)
		st.detour = st.named
		st.arrival.Ping = int(PingEvery / time.Second)
	}
	if err := e.streams.admit(st); err != nil {
		return nil, err
	}
	st.room = e.hub.Open(want.Room)
	st.count(user)
	e.backend.Changed(want.Room) // the others are told while this one still waits
	e.backend.Await(ctx, want.Room, want.Cursor)
	if st.lease != nil {
		e.startLease(st)
	}
	if want.Poll {
		e.users.Returned(st.ticket)
	}
	if !want.Until.IsZero() {
		st.endAt(want.Until)
	}
	e.recount(want.Room)
	return st, nil
}

// expiry ends a stream with its permission.
type expiry struct {
	at    time.Time
	timer *time.Timer
}

func (st *Stream) endAt(t time.Time) {
	st.expiry = &expiry{t, time.AfterFunc(time.Until(t), func() { st.End(Retry()) })}
}

// namePoller returns the name that a poll without client id is counted under. One reader must
// be one user over all its polls, or each poll would change the count and so end the next: its
// cursor carries a name that we give it.
func (st *Stream) namePoller() string {
	c, _ := hub.ParseCursor(st.arrival.Cursor)
	if c.Poller == "" {
		c.Poller = rand.Text()
	}
	st.arrival.poller = c.Poller
	return c.Poller
}

// count counts the stream's user from now on.
func (st *Stream) count(user string) {
	if user == "" && st.arrival.Cursor != "" {
		st.ticket = st.engine.users.OpenAgain(st.room.Name(), st)
	} else {
		st.ticket = st.engine.users.Open(st.room.Name(), user, st)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.state == admitted { // and not told to end at the very moment that it was counted
		st.state = counted
	}
}

// attach gives the stream its writer.
func (st *Stream) attach(out writer, t Transport) {
	st.engine.streams.use(st, t)
	st.engine.observer.Opened(t)
	st.mu.Lock()
	st.out, st.arrival = out, nil
	asked, retry := st.state == ending, st.retry
	if st.state == counted {
		st.state = open
	}
	st.mu.Unlock()
	if asked {
		out.End(retry)
	}
}

// End asks for a clean end, now or as soon as something writes. The reader is told to come
// back after retry.
func (st *Stream) End(retry time.Duration) { st.endFor(retry, 0) }

// endFor is End for a reader that is waited for that much longer than the grace period.
func (st *Stream) endFor(retry, longer time.Duration) {
	st.mu.Lock()
	if st.state >= ending {
		st.mu.Unlock()
		return
	}
	st.state, st.retry, st.waited = ending, retry, longer
	out := st.out
	st.mu.Unlock()
	if out != nil {
		out.End(retry)
	}
}

// Left is for [presence.Stream]: the user said goodbye or was given up.
func (st *Stream) Left() { st.End(Retry()) }

// Done is for [wire.Owner]: the epoll writer has ended the stream. It does so only while it is not frozen.
func (st *Stream) Done(reason wire.Reason) { st.close(reason) }

func (st *Stream) ping() {
	st.mu.Lock()
	out := st.out
	st.mu.Unlock()
	if out != nil {
		out.Ping()
	}
}

// Close gives back what the stream holds. Users whose streams this server ended because it
// stops stay counted: they are on their way to the next one. Closing twice is as closing once.
func (st *Stream) Close(reason wire.Reason) {
	if st.engine.freezer.enter() {
		defer st.engine.freezer.leave()
	}
	st.close(reason)
}

func (st *Stream) close(reason wire.Reason) {
	st.mu.Lock()
	was, longer, written := st.state, st.waited, st.out != nil
	st.state = closed
	st.mu.Unlock()
	if was == closed {
		return
	}
	if st.expiry != nil {
		st.expiry.timer.Stop()
	}
	e := st.engine
	draining := e.streams.release(st)
	handedOver := draining && (reason == wire.Ended || reason == Answered)
	if handedOver && st.named && !e.alone {
		longer = max(longer, HandoverWithin)
	}
	if st.ticket != nil && !(handedOver && e.alone) {
		if e.users.Leases() >= e.maxLeases {
			longer = -e.opt.Linger // no more can be remembered
		}
		e.users.CloseFor(st.ticket, time.Now(), longer)
		e.recount(st.room.Name())
		e.wakeExpiry()
	}
	e.hub.Close(st.room)
	if written {
		e.observer.Ended(reason)
	}
}

// returnTime is how long the client of a stream that ends is waited for if it was told to come
// back at once.
func (st *Stream) returnTime() time.Duration {
	switch {
	case st.seldom && st.detour:
		return seldomDetourWithin
	case st.seldom:
		return seldomWithin
	case st.detour:
		return detourWithin
	}
	return returnWithin
}
