package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"headcount/internal/sse"
)

// asBrowser is the doctor's name where it wants to be treated as a page is.
const asBrowser = "Mozilla/5.0 (compatible; headcount doctor)"

// errNoEvent is a stream or poll that is open and gives nothing.
var errNoEvent = errors.New("it is open, but its events do not come")

// visit is a real stream in a room that nobody else knows.
type visit struct {
	d        *doctor
	room, id string
	cancel   context.CancelFunc
	ended    chan struct{}
	end      error // of the stream; read it after ended

	asked atomic.Bool   // the server wants its pings answered
	told  atomic.Bool   // all that the stream had to tell
	err   error         // why no events came, if so
	began time.Duration // until the first user count
	news  time.Duration // from the time another user joined until the stream told so
}

// openVisit opens a stream as a page does, and has another user join its room.
func (d *doctor) openVisit(ctx context.Context) *visit {
	v := &visit{d: d, room: "doctor-" + rand.Text(), id: rand.Text(), ended: make(chan struct{})}
	ctx, v.cancel = context.WithCancel(ctx)
	counts := make(chan block, 16)
	go func() {
		defer close(v.ended)
		defer close(counts)
		v.end = v.read(ctx, counts)
	}()

	begin := time.Now()
	v.began = v.await(counts, "1", begin)
	if v.began > 0 {
		begin = time.Now()
		other := rand.Text()
		if _, err := d.poll(ctx, v.room, other, ""); err == nil {
			v.news = v.await(counts, "2", begin)
			v.told.Store(true)
			_ = d.post(ctx, "leave", v.room, other)
		}
	}
	if v.news == 0 {
		v.cancel()
		<-v.ended
		if v.err = v.end; v.err == nil || errors.Is(v.err, context.Canceled) {
			v.err = errNoEvent
		}
		v.leave(ctx)
	}
	return v
}

// read passes the user counts on, and answers where the server wants to know whether its stream arrives.
func (v *visit) read(ctx context.Context, counts chan<- block) error {
	req, err := v.d.get(ctx, "events", "room", v.room, "id", v.id)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", asBrowser)
	resp, _, err := v.d.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := validate(resp); err != nil {
		return err
	}
	text, _, err := unpack(resp)
	if err != nil {
		return err
	}
	return readBlocks(text, func(b block) {
		switch b.name {
		case sse.Hello, sse.Ping:
			if b.asks() {
				v.asked.Store(true)
			}
			// A word of life that is under way when the stream is closed would keep its user counted.
			if !v.told.Load() {
				_ = v.d.post(ctx, "alive", v.room, v.id)
			}
		case sse.UserCount:
			select {
			case counts <- b:
			default: // nobody waits for it any more
			}
		}
	})
}

// await returns how long after begin the count came, 0 if it did not come in time.
func (v *visit) await(counts <-chan block, want string, begin time.Time) time.Duration {
	timeout := time.After(v.d.patient())
	for {
		select {
		case b, ok := <-counts:
			if !ok {
				return 0
			}
			if b.data == want {
				return max(1, b.at.Sub(begin))
			}
		case <-timeout:
			return 0
		}
	}
}

// close closes the stream without a word and returns how long the server counted it after that, 0 if it did so until
// limit was over.
func (v *visit) close(ctx context.Context, limit time.Duration) (noticed time.Duration) {
	v.cancel()
	<-v.ended
	begin := time.Now()
	defer v.leave(ctx)
	for time.Since(begin) < limit {
		if n, err := v.d.count(ctx, v.room); err == nil && n == 0 {
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

// leave takes the user out of the count, whatever the server has noticed.
func (v *visit) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	_ = v.d.post(ctx, "leave", v.room, v.id)
}

// tryPolling asks in poll mode, as often as it takes, until the joining of another user is told. It returns how long
// that took.
func (d *doctor) tryPolling(ctx context.Context) (time.Duration, error) {
	ctx, end := context.WithTimeout(ctx, 3*d.patient()) // over all polls
	defer end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	room, id, other := "doctor-"+rand.Text(), rand.Text(), rand.Text()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
		defer cancel()
		_ = d.post(ctx, "leave", room, id, other)
	}()
	first, err := d.poll(ctx, room, id, "")
	if err != nil {
		return 0, err
	}
	joined := make(chan time.Time, 1)
	go func() {
		defer close(joined)
		time.Sleep(settle) // so that the poll that it ends is under way
		begin := time.Now()
		if _, err := d.poll(ctx, room, other, ""); err != nil {
			cancel(err) // nobody will be told of it
			return
		}
		joined <- begin
	}()
	cursor, count := first.cursor, first.count
	for count != "2" {
		next, err := d.poll(ctx, room, id, cursor)
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
		return 0, errNoEvent // cannot happen: somebody else has joined
	}
	return time.Since(begin), nil
}

// settle is the time given to a request to arrive.
const settle = 300 * time.Millisecond

// polled is what a poll answered.
type polled struct{ cursor, count string }

func (d *doctor) poll(ctx context.Context, room, id, cursor string) (polled, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*d.patient())
	defer cancel()
	p := polled{cursor: cursor}
	req, err := d.get(ctx, "events", "poll", "1", "room", room, "id", id, "lastEventId", cursor)
	if err != nil {
		return p, err
	}
	resp, _, err := d.send(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	if err := validate(resp); err != nil {
		return p, err
	}
	err = readBlocks(resp.Body, func(b block) {
		if b.id != "" {
			p.cursor = b.id
		}
		if b.name == sse.UserCount {
			p.count = b.data
		}
	})
	if err == nil && p.cursor == "" {
		err = errNoEvent
	}
	return p, err
}

// count is how many users a room has.
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
	var answer struct{ Users *int }
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&answer) != nil || answer.Users == nil {
		return 0, &refusedError{why: "it answers GET /count with " + strconv.Itoa(resp.StatusCode) + "; is it a headcount server?"}
	}
	return *answer.Users, nil
}

// post sends a room and client ids of it to one of the server's paths.
func (d *doctor) post(ctx context.Context, path, room string, ids ...string) error {
	ctx, cancel := context.WithTimeout(ctx, d.patient())
	defer cancel()
	return postUsers(ctx, d.http, d.base.JoinPath(path).String(), "", room, ids)
}

// get makes a request that no cache has an answer for; query is pairs of names and values.
func (d *doctor) get(ctx context.Context, path string, query ...string) (*http.Request, error) {
	u := d.base.JoinPath(path)
	q := u.Query()
	q.Set("t", rand.Text())
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	return req, nil
}
