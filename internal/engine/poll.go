package engine

import (
	"context"
	"time"

	"headcount/internal/hub"
	"headcount/internal/sse"
	"headcount/internal/wire"
)

// Poll waits for events and returns a response body with the bytes of a stream. Polls are for networks that hold a
// response back until it is complete. The poll ends after the first event. ok is false if the client has gone, which
// ctx shows. An unchanged EventSource reconnects by itself with its cursor. Call [Stream.Answered] after the response
// was written.
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

// withCursor adds the current cursor to the response. It goes into the last event, because some clients take a block
// without data for an event. Without an event nothing is added, unless the cursor has moved in a quiet room. Then the
// states are sent again.
func withCursor(body []byte, sub *hub.Sub, came hub.Cursor, poller string) []byte {
	cursor, _ := hub.ParseCursor(sub.Cursor())
	came.Poller, cursor.Poller = poller, poller
	body, ok := sse.SetLastID(body, cursor.String())
	if !ok && cursor != came {
		body, _ = sse.SetLastID(sub.States(body), cursor.String())
	}
	return body
}

// Answered closes a poll after its response. written reports whether the response was written; then the client
// reconnects at once.
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

// await appends the first events to body. It returns false if the client has gone.
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
			// If the host's middleware limits the time, a response within it is good.
			return body, ctx.Err() == context.DeadlineExceeded
		}
	}
}

// pollWriter ends a poll early.
type pollWriter chan struct{}

// End makes the poll respond now.
func (w pollWriter) End(time.Duration) {
	select {
	case w <- struct{}{}:
	default: // it is already ending
	}
}

// Ping does nothing, because each poll proves that its client is there.
func (pollWriter) Ping() {}
