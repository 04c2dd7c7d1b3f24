package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"headcount/internal/hub"
)

// Cluster is the other nodes of the same headcount.
type Cluster interface {
	hub.Source
	Log
	Census
	Neighbours
	Membership
}

// Log is where events are kept for all nodes.
type Log interface {
	// Emit returns once the event is kept. The id and the room are those of the first
	// event of that idempotency key, "" = none. hub.ErrTooLarge says what it says.
	Emit(ctx context.Context, room, event string, data []byte, key string) (id, in string, err error)
}

// Census is the count over all nodes.
type Census interface {
	// Total returns the count of a room that is open here; open is false if it is not.
	Total(room string) (users int, open bool)
	// Users returns the count of any room.
	Users(ctx context.Context, room string) int
	// Changed says that the count of this node may have changed.
	Changed(room string)
}

// Neighbours is what the nodes tell each other of single users.
type Neighbours interface {
	// Arrive is to be called for a reader of an open room before it is counted. It
	// takes the user out of the count of the node where the cursor says that it was,
	// and calls count at that very moment; or it returns an error and does not.
	Arrive(ctx context.Context, room, id, cursor string, count func()) error
	// Alive renews the leases of those ids that other nodes count, and returns the
	// rest.
	Alive(ctx context.Context, room string, ids []string) []string
	// Leave says goodbye for the ids everywhere else.
	Leave(room string, ids []string)
}

// Membership is this node among the others.
type Membership interface {
	// Tag names the node in cursors.
	Tag() string
	// Ready returns why this node is not one with the others, or nil.
	Ready() error
	// Nodes returns the names of all nodes, this one's too, and how long ago each was
	// last heard of.
	Nodes() map[string]time.Duration
}

// total returns how many users the room has on all nodes, if it is open here, and
// else those of this node.
func (s *Server) total(room string) int {
	if s.opt.Cluster != nil {
		if users, open := s.opt.Cluster.Total(room); open {
			return users
		}
	}
	return s.table.Count(room)
}

// everywhere returns how many users any room has on all nodes. It may ask for them.
func (s *Server) everywhere(ctx context.Context, room string) int {
	if s.opt.Cluster != nil {
		return s.opt.Cluster.Users(ctx, room)
	}
	return s.table.Count(room)
}

// arrive counts a new stream.
func (s *Server) arrive(ctx context.Context, st *stream, want subscription) error {
	count := func() { st.ticket = s.table.Open(want.room, want.id, st) }
	if s.opt.Cluster == nil {
		count()
		return nil
	}
	if err := s.opt.Cluster.Arrive(ctx, want.room, want.id, want.cursor, count); err != nil {
		return unavailable(byCluster, err.Error())
	}
	return nil
}

// Recount says that the count of a room may have changed on another node.
func (s *Server) Recount(room string) { s.tell(room) }

// Renew renews the leases of those ids that this node knows in the room, and returns
// them.
func (s *Server) Renew(room string, ids []string) []string {
	var known []string
	for _, id := range ids {
		if s.table.Knows(room, id) {
			known = append(known, id)
			s.renew(room, id)
		}
	}
	s.wakeExpiry()
	return known
}

// Expect counts an id until a time at least, unless it leaves before.
func (s *Server) Expect(room, id string, until time.Time) {
	s.table.Renew(room, id, until)
	s.wakeExpiry()
}

// renewAnywhere renews the leases of ids on the nodes that know them. Those that none
// knows are counted here from now on.
func (s *Server) renewAnywhere(ctx context.Context, room string, ids []string) {
	// Who is counted by a lease alone is in an open room, too.
	r := s.hub.Open(room)
	defer s.hub.Close(r)
	here := s.Renew(room, ids)
	rest := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(here, id) })
	if len(rest) == 0 {
		return
	}
	for _, id := range s.opt.Cluster.Alive(ctx, room, rest) {
		if err := s.opt.Cluster.Arrive(ctx, room, id, "", func() { s.renew(room, id) }); err != nil {
			s.log.Debug("lease not taken", "error", err)
		}
	}
}

// slowKeeping is how long keeping an event may take before the operator is told.
const slowKeeping = 500 * time.Millisecond

// keeping says in words what went wrong with the last event, nil if nothing did. The node
// is still ready: streams and counts need nothing to be kept.
func keeping(took time.Duration, err error) *string {
	var words string
	switch {
	case errors.Is(err, hub.ErrTooLarge):
	case err != nil:
		words = "the last event was not kept: " + err.Error()
	case took >= slowKeeping:
		words = fmt.Sprintf("NATS is slow: the last event was kept after %.1f s", took.Seconds())
	}
	if words == "" {
		return nil
	}
	return &words
}

// emitEverywhere keeps an event for all nodes.
func (s *Server) emitEverywhere(c echo.Context, e emission, key string) error {
	begin := time.Now()
	id, room, err := s.opt.Cluster.Emit(c.Request().Context(), *e.Room, e.Event, e.Data, key)
	took := time.Since(begin)
	s.metrics.kept(took)
	s.keeping.Store(keeping(took, err))
	switch {
	case errors.Is(err, hub.ErrTooLarge):
		return tooLarge(err.Error())
	case err != nil:
		s.log.Warn("event not accepted", "error", err)
		return unavailable(byCluster, "the event was not accepted; try again, with an Idempotency-Key: "+err.Error())
	}
	s.metrics.emitted.Inc()
	return c.JSON(http.StatusOK, emitted{ID: id, Room: room})
}
