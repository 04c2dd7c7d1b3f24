package web

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"headcount/internal/hub"
	"headcount/internal/presence"
	"headcount/internal/wire"
)

// stream is one open GET /events.
type stream struct {
	server    *Server
	room      *hub.Room
	ticket    *presence.Ticket
	lease     *lease // nil if being open proves that its reader is there
	by        transport
	address   netip.Prefix // of its client, if those are limited
	returning atomic.Bool  // its reader was told to come back at once
	named     bool         // it has a client id, or a name that we gave it
	detour    bool         // its reader comes back by way of a proxy
	seldom    bool         // and not at once: it has many rooms to ask for

	expiry *time.Timer // ends it with its token; nil if it needs none

	mu    sync.Mutex
	out   writer        // nil until it is known who writes
	ended bool          // somebody asked for the end,
	retry time.Duration // and what its reader is told
}

// writer is what wire has for one stream.
type writer interface {
	End(retry time.Duration)
	Ping()
}

// Left ends the stream of a user that said goodbye or was given up.
func (st *stream) Left() { st.end(retry()) }

// Done takes a stream that the epoll writer has ended out of the count.
func (st *stream) Done(reason wire.Reason) { st.server.gone(st, reason) }

// end asks for a clean end, now or as soon as somebody writes.
func (st *stream) end(retry time.Duration) {
	st.mu.Lock()
	out := st.out
	st.ended, st.retry = true, retry
	st.mu.Unlock()
	if out != nil {
		out.End(retry)
	}
}

func (st *stream) ping() {
	st.mu.Lock()
	out := st.out
	st.mu.Unlock()
	if out != nil {
		out.Ping()
	}
}

func (st *stream) writes(out writer) {
	st.mu.Lock()
	st.out = out
	ended, retry := st.ended, st.retry
	st.mu.Unlock()
	if ended {
		out.End(retry)
	}
}

// join counts a new stream and says how to make its reader, whose first count then
// includes it.
func (s *Server) join(ctx context.Context, want subscription, by transport) (*stream, hub.Reader, error) {
	var how hub.Reader
	named := want.id != ""
	st := &stream{server: s, by: by, named: named}
	if (want.proxied || want.readdressed) && !want.poll && (named || s.opt.MaxAge > 0) {
		// Before anybody can find it in the table.
		now := time.Now()
		st.lease = &lease{named: named, voluntary: !want.proxied, opened: now, pinged: now}
		st.detour = named
		how.Ping = int(pingEvery / time.Second)
	}
	if !s.rates.allow(want.address, time.Now(), 1) {
		return nil, how, tooFast()
	}
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return nil, how, unavailable(byStopping, "this server is stopping; come back in a few seconds")
	}
	if s.opt.MaxStreams > 0 && len(s.streams) >= s.opt.MaxStreams {
		s.mu.Unlock()
		return nil, how, unavailable(byStreams, "this server has as many streams as it may; come back in a few seconds")
	}
	if s.opt.MaxPerIP > 0 && s.clients[want.address] >= s.opt.MaxPerIP {
		s.mu.Unlock()
		return nil, how, unavailable(byAddress, "your address has as many streams as it may; close one, or come back in a few seconds")
	}
	s.streams[st] = struct{}{}
	s.newcomers++
	if s.opt.MaxPerIP > 0 {
		st.address = want.address
		s.clients[st.address]++
	}
	s.mu.Unlock()

	st.room = s.hub.Open(want.room)
	if err := s.arrive(ctx, st, want); err != nil {
		s.release(st)
		s.hub.Close(st.room)
		return nil, how, err
	}
	if st.lease != nil {
		s.lease(st)
	}
	if !want.until.IsZero() {
		st.expiry = time.AfterFunc(time.Until(want.until), func() { st.end(retry()) })
	}
	s.recount(want.room)
	s.metrics.opened.WithLabelValues(string(by)).Inc()
	how.ClientID, how.Cursor = want.id, want.cursor
	how.Retry, how.Heartbeat = s.retry(named), s.opt.Heartbeat
	return st, how, nil
}

// gone takes a stream that has ended out of the count. The users whose streams this
// server ended to stop stay counted: they are on their way to the next one.
func (s *Server) gone(st *stream, reason wire.Reason) {
	if st.expiry != nil {
		st.expiry.Stop()
	}
	draining := s.release(st)
	// Without a name nobody can tell that it is the same who comes back elsewhere.
	if handedOver := draining && reason == wire.Ended && (st.named || s.opt.Cluster == nil); !handedOver {
		var longer time.Duration
		switch {
		case !st.returning.Load():
		case st.seldom && st.detour:
			longer = seldomDetourWithin
		case st.seldom:
			longer = seldomWithin
		case st.detour:
			longer = detourWithin
		default:
			longer = returnWithin
		}
		if s.table.Leases() >= s.maxLeases {
			longer = -s.opt.Linger // no more can be remembered
		}
		s.table.CloseFor(st.ticket, time.Now(), longer)
		s.recount(st.room.Name())
		s.wakeExpiry()
	}
	s.hub.Close(st.room)
	s.metrics.ended.WithLabelValues(string(reason)).Inc()
}

// release takes a stream off the lists, and says whether the server is stopping.
func (s *Server) release(st *stream) (draining bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, st)
	delete(s.leased, st)
	if s.opt.MaxPerIP > 0 {
		if s.clients[st.address]--; s.clients[st.address] == 0 {
			delete(s.clients, st.address)
		}
	}
	if s.draining && len(s.streams) == 0 {
		close(s.idle)
	}
	return s.draining
}

// wakeExpiry has Run look again when the next lease ends.
func (s *Server) wakeExpiry() {
	select {
	case s.expire <- struct{}{}:
	default: // it will look anyway
	}
}

func (s *Server) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return unavailable(byStopping, "stopping")
	}
	if s.opt.Cluster != nil {
		if err := s.opt.Cluster.Ready(); err != nil {
			return unavailable(byCluster, err.Error())
		}
	}
	return nil
}
