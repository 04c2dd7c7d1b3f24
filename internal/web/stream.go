package web

import (
	"sync"
	"time"

	"headcount/internal/hub"
	"headcount/internal/presence"
	"headcount/internal/wire"
)

// stream is one open GET /events.
type stream struct {
	server *Server
	room   *hub.Room
	ticket *presence.Ticket

	mu    sync.Mutex
	out   writer // nil until it is known who writes
	ended bool
}

// writer is what wire has for one stream.
type writer interface{ End(retry time.Duration) }

// Left ends the stream of a user that said goodbye.
func (st *stream) Left() { st.end() }

// Done takes a stream that the epoll writer has ended out of the count.
func (st *stream) Done(reason wire.Reason) { st.server.gone(st, reason) }

// end asks for a clean end, now or as soon as somebody writes.
func (st *stream) end() {
	st.mu.Lock()
	out := st.out
	st.ended = true
	st.mu.Unlock()
	if out != nil {
		out.End(retry())
	}
}

func (st *stream) writes(out writer) {
	st.mu.Lock()
	st.out = out
	ended := st.ended
	st.mu.Unlock()
	if ended {
		out.End(retry())
	}
}

// join counts a new stream and makes its reader, whose first count includes it.
// how says what is known of the way to it.
func (s *Server) join(want subscription, how hub.Reader) (*stream, *hub.Sub, error) {
	st := &stream{server: s}
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return nil, nil, unavailable("this server is stopping; come back in a few seconds")
	}
	if s.opt.MaxStreams > 0 && len(s.streams) >= s.opt.MaxStreams {
		s.mu.Unlock()
		return nil, nil, unavailable("this server has as many streams as it may; come back in a few seconds")
	}
	s.streams[st] = struct{}{}
	s.mu.Unlock()

	st.room = s.hub.Open(want.room)
	st.ticket = s.table.Open(want.room, want.id, st)
	s.recount(want.room)
	how.ClientID, how.Cursor = want.id, want.cursor
	how.Retry, how.Heartbeat = retry(), s.opt.Heartbeat
	return st, st.room.Join(how), nil
}

// gone takes a stream that has ended out of the count. The users whose streams this
// server ended to stop stay counted: they are on their way to the next one.
func (s *Server) gone(st *stream, reason wire.Reason) {
	s.mu.Lock()
	delete(s.streams, st)
	handedOver := s.draining && reason == wire.Ended
	if s.draining && len(s.streams) == 0 {
		close(s.idle)
	}
	s.mu.Unlock()

	if !handedOver {
		s.table.Close(st.ticket, time.Now())
		s.recount(st.room.Name())
		s.wakeExpiry()
	}
	s.hub.Close(st.room)
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
		return unavailable("stopping")
	}
	return nil
}
