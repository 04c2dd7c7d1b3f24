package wire

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"

	"headcount/internal/hub"
)

// Stream writes one subscriber's events through an http.ResponseWriter.
type Stream struct {
	sub       *hub.Sub
	heartbeat time.Duration
	push      bool
	end       chan time.Duration
	ping      chan struct{}
}

// NewStream returns a stream for sub, which must not have Chunked set, because net/http makes the chunks. heartbeat is
// the longest silence, more than 0. With push a comment follows each last event, see [Push].
func NewStream(sub *hub.Sub, heartbeat time.Duration, push bool) *Stream {
	return &Stream{sub: sub, heartbeat: heartbeat, push: push, end: make(chan time.Duration, 1), ping: make(chan struct{}, 1)}
}

// Ping sends a heartbeat that needs an answer, even if there is news to write. It returns at once.
func (s *Stream) Ping() {
	select {
	case s.ping <- struct{}{}:
	default: // one is on its way
	}
}

// End asks the stream to end cleanly, after at most one more batch of what is pending, and tells its client to
// reconnect after retry. It returns at once and may be called at any time, any number of times.
func (s *Stream) End(retry time.Duration) {
	select {
	case s.end <- retry:
	default: // it is ending already
	}
}

// Run writes until the client has left (ctx is done or a write fails) or End was called, and returns the reason. The
// header of w must be set.
func (s *Stream) Run(ctx context.Context, w http.ResponseWriter) Reason {
	out := output{w: w, control: http.NewResponseController(w)}
	w.WriteHeader(http.StatusOK)

	var batch hub.Batch
	silence := time.NewTimer(s.heartbeat)
	defer silence.Stop()
	var pushed <-chan time.Time // when a comment is due after the last event
	again := make(chan struct{})
	close(again)
	for {
		changed := s.sub.Room().Changed()
		if s.sub.Pending(&batch) {
			if err := out.send(&batch, s.sub); err != nil {
				return reasonOf(err)
			}
			if !s.sub.Signals() { // an EventSource hides events without a listener from its page
				silence.Reset(s.heartbeat)
			}
			if s.push {
				pushed = time.After(Push)
			}
		}
		if batch.Full() {
			changed = again // there may be more, but End and Ping get their turn
		} else {
			batch = hub.Batch{} // nothing is kept while there is nothing to write
		}
		idle := time.Now()
		select {
		case <-ctx.Done():
			return Gone
		case <-changed:
			// The throttling needs to know how long subscribers wait behind each other. News that came while this one
			// was busy is not part of that.
			if notified := s.sub.Room().Notified(); notified.After(idle) {
				s.sub.Room().Took(time.Since(notified))
			}
		case <-pushed:
			pushed = nil
			s.sub.Comment(&batch)
			if err := out.send(&batch, s.sub); err != nil {
				return reasonOf(err)
			}
		case <-s.ping:
			if err := s.beat(out, &batch); err != nil {
				return reasonOf(err)
			}
			silence.Reset(s.heartbeat)
		case <-silence.C:
			if err := s.beat(out, &batch); err != nil {
				return reasonOf(err)
			}
			silence.Reset(s.heartbeat)
		case retry := <-s.end:
			return s.farewell(out, &batch, retry)
		}
	}
}

func (s *Stream) beat(out output, b *hub.Batch) error {
	s.sub.Heartbeat(b)
	return out.send(b, s.sub)
}

// farewell ends the response, after one more batch of what is pending.
func (s *Stream) farewell(out output, b *hub.Batch, retry time.Duration) Reason {
	if s.sub.Pending(b) {
		if err := out.send(b, s.sub); err != nil {
			return reasonOf(err)
		}
	}
	s.sub.Farewell(b, retry)
	if err := out.send(b, s.sub); err != nil {
		return reasonOf(err)
	}
	return Ended
}

func reasonOf(err error) Reason {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return Stalled
	}
	return Gone
}

type output struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// send writes and flushes the batch. After an error the stream is over, because net/http does not report how much of it
// went out.
func (o output) send(b *hub.Batch, sub *hub.Sub) error {
	// Each write has its own deadline, because a stream has none. Where the connection has no deadlines, only the
	// kernel notices a stalled client.
	if err := o.control.SetWriteDeadline(time.Now().Add(StallTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	for _, p := range b.Bytes {
		if _, err := o.w.Write(p); err != nil {
			return err
		}
	}
	if err := o.control.Flush(); err != nil {
		return err
	}
	sub.Advance(b, b.Len())
	return nil
}
