package headcount

import (
	"cmp"
	"context"
	"iter"
	"strconv"
	"time"

	"headcount/internal/httpapi"
	"headcount/internal/sse"
)

// countTime is how long other nodes may take to say how many users they have.
const countTime = 2 * time.Second

// Count returns how many users a room has now, over all nodes; "" is the lobby. For a room that
// is not open here it asks the other nodes, and waits at most 2 s.
func (s *Server) Count(room string) int {
	ctx, cancel := context.WithTimeout(context.Background(), countTime)
	defer cancel()
	return s.engine.Count(ctx, cmp.Or(room, httpapi.DefaultRoom))
}

// Watch yields how many users a room has, over all nodes: the number now, and then each number
// that its readers are told. A loop that is slow gets the newest one. It ends with ctx, and
// with [Server.Shutdown].
func (s *Server) Watch(ctx context.Context, room string) iter.Seq[int] {
	room = cmp.Or(room, httpapi.DefaultRoom)
	return func(yield func(int) bool) {
		rooms := s.engine.Hub()
		r := rooms.Open(room)
		defer rooms.Close(r)
		for last := -1; ; {
			changed := r.Changed()
			users, err := strconv.Atoi(string(r.Published(sse.UserCount)))
			if err != nil {
				users = s.engine.Count(ctx, room) // nobody has been told a number yet
			}
			if users != last && !yield(users) {
				return
			}
			last = users
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-s.stopped:
				return
			}
		}
	}
}
