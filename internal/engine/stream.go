package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"
	"unique"

	"headcount/internal/hub"
	"headcount/internal/lockorder"
	"headcount/internal/presence"
	"headcount/internal/wire"
)

// state is the state of a stream. It only moves down this list. The method on the right makes each change:
//
//	admitted   it is in the registry                        Engine.Subscribe
//	counted    it has a ticket: its user is in the count    Stream.count
//	open       a writer delivers the room's events          Stream.attach
//	ending     its end was requested; its writer, now or    Stream.End
//	           when it gets one, says goodbye
//	closed     registry entry and ticket are released       Stream.Close
type state uint8

const (
	admitted state = iota
	counted
	open
	ending
	closed
)

// Request is a request for a subscription.
type Request struct {
	Room     string
	ClientID string // "" = none
	User     string // the name of the user, see [Identified]; "" = the client id, or an unknown user
	Cursor   string // Last-Event-ID, "" = none
	Poll     bool   // one response that ends
	NoWait   bool   // the poll does not wait for events

	Proxied bool // the request came through a proxy, or may have
	Relayed bool // the request came through a proxy or a plain TCP relay
	Browser bool // the client wants a comment behind each last event, see wire.Push

	Address netip.Prefix // limits count the request under this address
	Until   time.Time    // end of its permission, zero = never
}

// Stream is one admitted subscriber. Its writer and the presence table keep their parts of it in it.
type Stream struct {
	conn      wire.Conn // used by [wire.Epoll] only
	ticket    presence.Ticket
	engine    *Engine
	room      *hub.Room
	lease     *lease   // nil if the open stream proves that its client is there
	arrival   *arrival // nil once it has a writer
	address   unique.Handle[netip.Prefix]
	expiry    *expiry // nil if its permission does not end
	index     int32   // in registry.streams; guarded by registry.mu
	transport uint8   // guarded by registry.mu; 1 + the index in Transports; 0 until something writes
	named     bool    // it has a client id, or is a poll
	detour    bool    // its client reconnects through a proxy
	seldom    bool    // its client asks for many rooms, and so reconnects late
	state     state   // guarded by mu, as are the fields below

	mu     lockorder.Mutex[lockorder.Leaf]
	out    writer        // set by attach
	retry  time.Duration // the reconnection time that the client gets at the end
	waited time.Duration // added to the grace period of its client
}

// Format is for package fmt. It hides the keys of the connection.
func (st *Stream) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "[stream %p]", st) }

// Identified returns the id under which a user whose name the host knows is counted. It is not a valid client id, so no
// stranger can act for such a user.
func Identified(name string) string { return "@" + name }

// arrival is the state of a subscriber until it has a writer.
type arrival struct {
	hub.JoinOptions
	poller  string // id of a poll without client id
	browser bool
}

// writer is the part of a wire writer that a stream uses.
type writer interface {
	End(retry time.Duration)
	Ping()
}

// Subscribe admits a subscriber and counts its user, so that the first count that it gets includes it. ctx limits
// requests to the backend. Call [Stream.Close] in any case. The engine is not frozen before the stream has a writer or is
// closed, so that a snapshot never has a user without its stream.
func (e *Engine) Subscribe(ctx context.Context, want Request) (*Stream, error) {
	if !e.rates.allow(want.Address, time.Now(), 1) {
		return nil, tooFast()
	}
	waitFor(ctx, e.catching.done)
	if !e.freezer.enter() {
		return nil, moved()
	}
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
		e.freezer.leave()
		return nil, err
	}
	st.room = e.hub.Open(want.Room)
	joins := e.verbose && (user == "" || !e.users.Has(want.Room, user))
	st.count(user)
	e.node.Changed(want.Room) // the other nodes get the change while this subscriber still waits
	e.node.Await(ctx, want.Room, want.Cursor)
	if st.lease != nil && !st.lease.voluntary {
		e.users.Lease(&st.ticket, st.lease.opened.Add(confirmWithin+returnWithin))
		e.wakeExpiry()
	}
	if want.Poll {
		e.users.Returned(&st.ticket)
	}
	if !want.Until.IsZero() {
		st.endAt(want.Until)
	}
	e.recount(want.Room)
	e.traceStream("connected", st, "")
	if joins {
		e.traceUsers("joined", want.Room)
	}
	return st, nil
}

// expiry ends a stream when its permission ends.
type expiry struct {
	at    time.Time
	timer *time.Timer
}

func (st *Stream) endAt(t time.Time) {
	st.expiry = &expiry{t, time.AfterFunc(time.Until(t), func() { st.End(Retry()) })}
}

// namePoller returns the id under which a poll without client id is counted. All polls of one client must count as one
// user. Otherwise each poll would change the count and so end the next poll. The client's cursor carries this id.
func (st *Stream) namePoller() string {
	c, _ := hub.ParseCursor(st.arrival.Cursor)
	if c.Poller == "" {
		c.Poller = rand.Text()
	}
	st.arrival.poller = c.Poller
	return c.Poller
}

// count adds the stream's user to the count.
func (st *Stream) count(user string) {
	if user == "" && st.arrival.Cursor != "" {
		st.engine.users.OpenAgain(st.room.Name(), st)
	} else {
		st.engine.users.Open(st.room.Name(), user, st)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.state == admitted { // its end may have been requested while it was counted
		st.state = counted
	}
}

// attach connects the stream to its writer.
func (st *Stream) attach(out writer, t Transport) {
	st.engine.streams.use(st, t)
	st.engine.observer.Opened(t)
	if t != ByPoll {
		st.engine.joins.add(st.room.Name(), time.Now())
	}
	st.mu.Lock()
	st.out, st.arrival = out, nil
	asked, retry := st.state == ending, st.retry
	if st.state == counted {
		st.state = open
	}
	st.mu.Unlock()
	st.engine.freezer.leave()
	if asked {
		out.End(retry)
	}
}

// End requests a clean end, now or as soon as there is a writer. The client is told to reconnect after retry.
func (st *Stream) End(retry time.Duration) { st.endFor(retry, 0) }

// endFor is End with a longer grace period for the client.
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

// Ticket implements [presence.Stream].
func (st *Stream) Ticket() *presence.Ticket { return &st.ticket }

// Left implements [presence.Stream]. The user said goodbye or its lease ended.
func (st *Stream) Left() { st.End(Retry()) }

// Conn implements [wire.Owner].
func (st *Stream) Conn() *wire.Conn { return &st.conn }

// Done implements [wire.Owner]. The epoll writer has ended the stream. It calls this only while it is not frozen.
func (st *Stream) Done(reason wire.Reason) { st.close(reason) }

func (st *Stream) ping() {
	st.mu.Lock()
	out := st.out
	st.mu.Unlock()
	if out != nil {
		out.Ping()
	}
}

// Close releases what the stream holds. If this server ended the stream because it stops, the user stays counted while
// it reconnects to the next server. A second call does nothing.
func (st *Stream) Close(reason wire.Reason) {
	st.mu.Lock()
	arriving := st.out == nil && st.state != closed
	st.mu.Unlock()
	if arriving || st.engine.freezer.enter() {
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
	if !(handedOver && e.alone) {
		if e.users.Leases() >= e.maxLeases {
			longer = -e.opt.Linger // the presence table cannot remember more
		}
		e.users.CloseFor(&st.ticket, time.Now(), longer)
		e.recount(st.room.Name())
		e.wakeExpiry()
	}
	e.traceStream("disconnected", st, reason)
	e.hub.Close(st.room)
	if written {
		e.observer.Ended(reason)
	}
}

// returnTime is how long the client of an ending stream may take to reconnect after it was told to do so at once.
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
