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

// countTime is how long other nodes may take to report their number of users.
const countTime = 2 * time.Second

// Count returns how many users a room has now, over all nodes; "" is the lobby. For a room that is not open on this
// node it asks the other nodes, and waits at most 2 s. After [Server.Release] it is 0.
func (s *Server) Count(room string) int {
	ctx, cancel := context.WithTimeout(context.Background(), countTime)
	defer cancel()
	users, err := s.engine.Count(ctx, cmp.Or(room, httpapi.DefaultRoom))
	if err != nil { // another process has taken over
		return 0
	}
	return users
}

// Watch yields how many users a room has, over all nodes. It yields the number now, and then each number that the
// room's subscribers get. A slow loop gets only the newest number. The sequence ends with ctx, and with
// [Server.Shutdown].
func (s *Server) Watch(ctx context.Context, room string) iter.Seq[int] {
	room = cmp.Or(room, httpapi.DefaultRoom)
	return func(yield func(int) bool) {
		rooms := s.engine.Hub()
		r := rooms.Open(room)
		defer rooms.Close(r)
		for last := -1; ; {
			changed := r.Changed()
			users, err := strconv.Atoi(string(r.Published(sse.UserCount)))
			if err != nil { // no number was published yet
				if users, err = s.engine.Count(ctx, room); err != nil {
					return
				}
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
