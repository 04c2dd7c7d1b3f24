package doctor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"headcount/client/remote"
	"headcount/internal/sse"
)

// asBrowser is the doctor's User-Agent for requests that should be treated like those of a page.
const asBrowser = "Mozilla/5.0 (compatible; headcount doctor)"

// errNoEvent means that a stream or poll is open but delivers nothing.
var errNoEvent = errors.New("it is open, but its events do not come")

// session is a real stream in a private random room.
type session struct {
	d        *doctor
	room, id string
	cancel   context.CancelFunc
	ended    chan struct{}
	end      error // error of the stream; read it after ended

	asked atomic.Bool   // the server asks for answers to its pings
	done  atomic.Bool   // the stream has delivered all that it should
	err   error         // why no events came, or nil
	began time.Duration // time until the first user count
	news  time.Duration // time from the join of another user until the stream delivered the count
}

// openSession opens a stream as a page does, and lets another user join its room.
func (d *doctor) openSession(ctx context.Context) *session {
	s := &session{d: d, room: "doctor-" + rand.Text(), id: rand.Text(), ended: make(chan struct{})}
	ctx, s.cancel = context.WithCancel(ctx)
	counts := make(chan remote.Block, 16)
	go func() {
		defer close(s.ended)
		defer close(counts)
		s.end = s.read(ctx, counts)
	}()

	begin := time.Now()
	s.began = s.await(counts, "1", begin)
	if s.began > 0 {
		begin = time.Now()
		other := rand.Text()
		if _, err := d.poll(ctx, s.room, other, "", false); err == nil {
			s.news = s.await(counts, "2", begin)
			s.done.Store(true)
			_ = d.post(ctx, "leave", s.room, other)
		}
	}
	if s.news == 0 {
		s.cancel()
		<-s.ended
		if s.err = s.end; s.err == nil || errors.Is(s.err, context.Canceled) {
			s.err = errNoEvent
		}
		s.leave(ctx)
	}
	return s
}

// read passes the user counts on, and answers the server's pings.
func (s *session) read(ctx context.Context, counts chan<- remote.Block) error {
	req, err := s.d.get(ctx, "events", "room", s.room, "id", s.id)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", asBrowser)
	resp, _, err := s.d.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := remote.CheckStream(resp, false); err != nil {
		return err
	}
	text, _, err := unpack(resp)
	if err != nil {
		return err
	}
	return remote.ReadBlocks(text, func(b remote.Block) {
		switch b.Name {
		case sse.Hello, sse.Ping:
			if b.Asks() {
				s.asked.Store(true)
			}
			// A POST /alive in progress would keep the user counted after the stream is closed.
			if !s.done.Load() {
				_ = s.d.post(ctx, "alive", s.room, s.id)
			}
		case sse.UserCount:
			select {
			case counts <- b:
			default: // nobody waits for it any more
			}
		}
	})
}

// await returns how long after begin the count came, or 0 if it did not come in time.
func (s *session) await(counts <-chan remote.Block, want string, begin time.Time) time.Duration {
	timeout := time.After(s.d.patient())
	for {
		select {
		case b, ok := <-counts:
			if !ok {
				return 0
			}
			if b.Data == want {
				return max(1, b.At.Sub(begin))
			}
		case <-timeout:
			return 0
		}
	}
}

// close closes the stream without a goodbye. It returns how long the server counted the user after that, or 0 if the
// server still counted it after limit.
func (s *session) close(ctx context.Context, limit time.Duration) (noticed time.Duration) {
	s.cancel()
	<-s.ended
	begin := time.Now()
	defer s.leave(ctx)
	for time.Since(begin) < limit {
		if n, err := s.d.count(ctx, s.room); err == nil && n == 0 {
			return time.Since(begin)
		}
		select {
		case <-ctx.Done():
			return 0
		case <-time.After(100 * time.Millisecond):
		}
	}
	return 0
}

// leave removes the user from the count, even if the server has noticed nothing.
func (s *session) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	_ = s.d.post(ctx, "leave", s.room, s.id)
}

// tryPolling polls until it gets the count with another user that has joined. It returns how long that took.
func (d *doctor) tryPolling(ctx context.Context) (time.Duration, error) {
	ctx, end := context.WithTimeout(ctx, 3*d.patient()) // for all polls
	defer end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	room, id, other := "doctor-"+rand.Text(), rand.Text(), rand.Text()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
		defer cancel()
		_ = d.post(ctx, "leave", room, id, other)
	}()
	first, err := d.poll(ctx, room, id, "", false)
	if err != nil {
		return 0, err
	}
	joined := make(chan time.Time, 1)
	go func() {
		defer close(joined)
		time.Sleep(arrivalTime) // so that the poll in progress has arrived
		begin := time.Now()
		if _, err := d.poll(ctx, room, other, "", false); err != nil {
			cancel(err) // the poll can never get the count
			return
		}
		joined <- begin
	}()
	cursor, count := first.cursor, first.count
	for count != "2" {
		next, err := d.poll(ctx, room, id, cursor, false)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			cancel(nil)
			<-joined
			return 0, err
		}
		if next.count != "" {
			count = next.count
		}
		cursor = next.cursor
	}
	begin, ok := <-joined
	if !ok {
		return 0, errNoEvent // cannot happen, because the other user has joined
	}
	return time.Since(begin), nil
}

// leaveTime is the time limit for a goodbye.
const leaveTime = 500 * time.Millisecond

// arrivalTime is the time that a request gets to arrive.
const arrivalTime = 300 * time.Millisecond

// polled is the answer to a poll.
type polled struct{ cursor, count string }

// poll sends a poll as a page does, which accepts text/plain. With typed it polls as an EventSource does.
func (d *doctor) poll(ctx context.Context, room, id, cursor string, typed bool) (polled, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*d.patient())
	defer cancel()
	p := polled{cursor: cursor}
	req, err := d.get(ctx, "events", "poll", "1", "room", room, "id", id, "lastEventId", cursor)
	if err != nil {
		return p, err
	}
	if typed {
		req.Header.Set("Accept", "text/event-stream")
	} else {
		req.Header.Set("Accept", "text/plain")
	}
	resp, _, err := d.send(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	if err := remote.CheckStream(resp, !typed); err != nil {
		return p, err
	}
	err = remote.ReadBlocks(resp.Body, func(b remote.Block) {
		if b.ID != "" {
			p.cursor = b.ID
		}
		if b.Name == sse.UserCount {
			p.count = b.Data
		}
	})
	if err == nil && p.cursor == "" {
		err = errNoEvent
	}
	return p, err
}

// count returns how many users a room has.
func (d *doctor) count(ctx context.Context, room string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, d.patient())
	defer cancel()
	req, err := d.get(ctx, "count", "room", room)
	if err != nil {
		return 0, err
	}
	resp, _, err := d.send(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		if refused := remote.NewRefusal(resp); refused.WantsTLS {
			return 0, refused
		}
	}
	var answer struct{ Users *int }
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&answer) != nil || answer.Users == nil {
		return 0, &remote.Refusal{Why: "it answers GET /count with " + strconv.Itoa(resp.StatusCode) + "; is it a headcount server?"}
	}
	return *answer.Users, nil
}

// post sends a room and client ids of it to one of the server's paths.
func (d *doctor) post(ctx context.Context, path, room string, ids ...string) error {
	ctx, cancel := context.WithTimeout(ctx, d.patient())
	defer cancel()
	return d.server.PostUsers(ctx, path, room, ids...)
}

// get makes a request that no cache can answer. query is pairs of names and values.
func (d *doctor) get(ctx context.Context, path string, query ...string) (*http.Request, error) {
	q := url.Values{"t": {rand.Text()}}
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.server.URL(path, q), nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	return req, nil
}
