package headcount

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"headcount/internal/engine"
)

// Snapshot is the whole state of a frozen [Server], for the process that continues with it.
//
// A host that restarts itself without losing its listeners passes on the streams as well:
//
//	snapshot, err := live.Freeze()
//	state, err := snapshot.Bytes()
//	// Send state, and the descriptors snapshot.Streams() by SCM_RIGHTS. When the next process has them,
//	err = live.Release(ctx, next)
//	// or else live.Thaw().
//
// and in the next process
//
//	snapshot, err := headcount.ReadSnapshot(state, descriptors)
//	live, err := headcount.New(headcount.Options{Resume: snapshot})
//	// Confirm that everything has arrived. When the other process has released it,
//	live.Thaw()
//
// A host that stops and starts again freezes the server after [Server.Shutdown] and keeps only the bytes.
type Snapshot = engine.Snapshot

// ReadSnapshot reads the bytes of [Snapshot.Bytes], perhaps from another version of the program. streams are the
// descriptors of [Snapshot.Streams] in this process, which [New] takes over. If this process has none, pass nil; the
// users of these streams then get a grace period to reconnect. An error explains in one sentence why the bytes cannot
// be used.
func ReadSnapshot(state []byte, streams []int) (*Snapshot, error) {
	s, err := engine.ReadSnapshot(state, streams)
	if err != nil {
		return nil, fmt.Errorf("headcount: %w", err)
	}
	return s, nil
}

// Freeze stops reading, writing and counting, and returns what another process needs to continue. Requests wait.
// Streams over HTTP/2, and others that [net/http] writes, are not handed over. The server tells their clients to
// reconnect, and they get a grace period in the other process. Call [Server.Thaw] or [Server.Release] within a few
// seconds. Freeze returns an error if some request did not end within 3 s, or if the server is frozen. Nothing has changed
// then.
func (s *Server) Freeze() (*Snapshot, error) {
	snapshot, err := s.engine.Freeze()
	if err != nil {
		return nil, fmt.Errorf("headcount: freeze: %w", err)
	}
	return snapshot, nil
}

// Thaw resumes work after [Server.Freeze], and starts it after [New] with Options.Resume. It does nothing to a server
// that is not frozen. Call Freeze, Thaw and Release from one goroutine.
func (s *Server) Thaw() { s.engine.Thaw() }

// Release ends a frozen server after another process has taken over. Only clients whose streams could not be handed
// over notice.
//
// Some requests have been read here, but are for the other process. next responds to them, for example by passing on
// their connections. Nothing has been written to them, and their bodies can be read from the start. Without next they
// get a 503.
func (s *Server) Release(ctx context.Context, next http.Handler) error {
	if next != nil {
		s.api.Moved(next)
	}
	err := s.engine.Release(ctx)
	s.once.Do(func() { close(s.stopped) })
	s.engine.Shut()
	s.stop()
	s.running.Wait()
	return errors.Join(err, s.engine.Close())
}
