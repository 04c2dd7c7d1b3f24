package headcount

import (
	"context"
	"errors"
	"fmt"

	"headcount/internal/engine"
)

// Snapshot is all that a frozen [Server] knows, for a process that goes on with it.
//
// A host that restarts itself without losing its listeners passes on the streams as well:
//
//	snapshot := live.Freeze()
//	state, err := snapshot.Bytes()
//	// Send state, and the descriptors snapshot.Streams() by SCM_RIGHTS. When the next process has them,
//	err = live.Release(ctx)
//	// or else live.Thaw().
//
// and in the next process
//
//	snapshot, err := headcount.ReadSnapshot(state, descriptors)
//	live, err := headcount.New(headcount.Options{Resume: snapshot})
//	// Say that everything is here. When the other process has let go,
//	live.Thaw()
//
// A host that stops and starts freezes the server after [Server.Shutdown] and keeps the bytes alone.
type Snapshot = engine.Snapshot

// ReadSnapshot reads what [Snapshot.Bytes] returned, perhaps in another version of the program. streams are the
// descriptors of [Snapshot.Streams] as this process has them, which [New] takes over; nil if it has none, and then the
// readers are waited for. An error says in a sentence why the bytes are of no use.
func ReadSnapshot(state []byte, streams []int) (*Snapshot, error) {
	s, err := engine.ReadSnapshot(state, streams)
	if err != nil {
		return nil, fmt.Errorf("headcount: %w", err)
	}
	return s, nil
}

// Freeze stops reading, writing and counting, and returns what another process needs to go on. Requests wait. Streams over
// HTTP/2, and others that [net/http] writes, do not go over; their readers are told to come back, and waited for there.
// Call [Server.Thaw] or [Server.Release] within a few seconds.
func (s *Server) Freeze() *Snapshot { return s.engine.Freeze() }

// Thaw goes on after [Server.Freeze], and begins after [New] with Options.Resume. It does nothing to a server that is not
// frozen. Freeze, Thaw and Release are for one goroutine.
func (s *Server) Thaw() { s.engine.Thaw() }

// Release ends a frozen server with which another process goes on: nobody hears of its end but those whose streams could
// not go over.
func (s *Server) Release(ctx context.Context) error {
	err := s.engine.Release(ctx)
	s.once.Do(func() { close(s.stopped) })
	s.stop()
	s.running.Wait()
	return errors.Join(err, s.engine.Close())
}
