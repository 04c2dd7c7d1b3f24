package engine

import "context"

// binder is a backend that must know its node before anything else.
type binder interface{ Bind(Local) }

// claimer is a backend that must be asked before a user is counted here.
type claimer interface {
	Arrive(ctx context.Context, room, id, cursor string, count func()) error
}

// arrive counts a new stream.
func (e *Engine) arrive(ctx context.Context, st *Stream, user, cursor string) error {
	c, ok := e.backend.(claimer)
	if !ok {
		st.count(user)
		return nil
	}
	if err := c.Arrive(ctx, st.room.Name(), user, cursor, func() { st.count(user) }); err != nil {
		return unavailable(Cluster, "%v", err)
	}
	return nil
}

// arriveByLease counts a client id that has no stream here.
func (e *Engine) arriveByLease(ctx context.Context, room, id string) {
	c, ok := e.backend.(claimer)
	if !ok {
		e.renew(room, id)
		return
	}
	if err := c.Arrive(ctx, room, id, "", func() { e.renew(room, id) }); err != nil {
		e.log.Debug("lease not taken", "error", err)
	}
}
