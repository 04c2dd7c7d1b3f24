package engine

import (
	"context"
	"time"

	"headcount/internal/hub"
	"headcount/internal/sse"
	"headcount/internal/wire"
)

// Poll waits for news and returns the body of a response: the bytes of a stream, for paths
// that hold a response back until it is complete. It ends after the first news. ok is false
// if the reader has gone, as ctx says. An unchanged EventSource comes again by itself, with
// its cursor. Call [Stream.Answered] when the response was written.
func (st *Stream) Poll(ctx context.Context) (body []byte, ok bool) {
	name := st.arrival.poller
	came, _ := hub.ParseCursor(st.arrival.Cursor)
	sub, body, news := st.room.Poll(st.arrival.JoinOptions)
	end := make(pollWriter, 1)
	st.attach(end, ByPoll)
	body, ok = await(ctx, sub, body, news || st.seldom, end)
	if !ok {
		return nil, false
	}
	return withCursor(body, sub, came, name), true
}

// withCursor has an answer leave its reader with the cursor where it is now. That goes into the
// last event, because some readers take a block without data for an event. Without an event there
// is nothing to say, unless the cursor has moved in a quiet room: then the states are said again.
func withCursor(body []byte, sub *hub.Sub, came hub.Cursor, poller string) []byte {
	cursor, _ := hub.ParseCursor(sub.Cursor())
	came.Poller, cursor.Poller = poller, poller
	body, ok := sse.SetLastID(body, cursor.String())
	if !ok && cursor != came {
		body, _ = sse.SetLastID(sub.States(body), cursor.String())
	}
	return body
}

// Answered closes a poll whose response was written, or was not: its reader comes again at
// once if it was.
func (st *Stream) Answered(written bool) {
	if !written {
		st.Close(wire.Gone)
		return
	}
	st.mu.Lock()
	st.waited = st.returnTime()
	st.mu.Unlock()
	st.Close(Answered)
}

// await appends the first news to body. It returns false if the reader has gone.
func await(ctx context.Context, sub *hub.Sub, body []byte, news bool, end pollWriter) ([]byte, bool) {
	timeout := time.NewTimer(PollTime)
	defer timeout.Stop()
	var batch hub.Batch
	for {
		changed := sub.Room().Changed()
		if sub.Pending(&batch) {
			for _, p := range batch.Bytes {
				body = append(body, p...)
			}
			sub.Advance(&batch, batch.Len())
			return body, true
		}
		if news {
			return body, true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return body, true
		case <-end:
			return body, true
		case <-ctx.Done():
			// Where a host's middleware has a limit, an answer in time is a good one.
			return body, ctx.Err() == context.DeadlineExceeded
		}
	}
}

// pollWriter ends a poll early.
type pollWriter chan struct{}

// End has the poll answer now.
func (w pollWriter) End(time.Duration) {
	select {
	case w <- struct{}{}:
	default: // it ends already
	}
}

// Ping does nothing: a poll is its own sign of life.
func (pollWriter) Ping() {}
