package httpapi_test

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/internal/sse/ssetest"
)

// polled is the response to a poll, as an EventSource reads it.
type polled struct {
	events []string // "name data"
	cursor string   // the cursor after the response
	took   time.Duration
}

func (b *rig) poll(query, cursor string) polled {
	b.T.Helper()
	begin := time.Now()
	a := b.Do("GET", "/events?poll=1&"+query, "", "Last-Event-ID", cursor, "Accept", "text/event-stream")
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" || a.Header.Get("Content-Length") != strconv.Itoa(len(a.Body)) {
		b.T.Fatalf("got %s %v for a body of %d bytes, want an event stream that says its length", a.Status, a.Header, len(a.Body))
	}
	p := polled{cursor: cursor, took: time.Since(begin)}
	for in, retry := ssetest.NewReader(strings.NewReader(a.Body)), ""; ; {
		block, err := in.Block()
		retry += block.Retry
		if err != nil {
			if ms, err := strconv.Atoi(retry); err != nil || ms < 100 || ms > 300 {
				b.T.Errorf("got retry %q, want one of 100 to 300 ms", retry)
			}
			return p
		}
		if !block.Dispatched {
			b.T.Errorf("got %+v, want no block without an event: some readers take it for one", block)
		}
		p.events = append(p.events, block.Name+" "+block.Data)
		p.cursor = block.ID
	}
}

func (p polled) want(t *testing.T, what string, took time.Duration, events ...string) {
	t.Helper()
	if got, want := strings.Join(p.events, ", "), strings.Join(events, ", "); got != want || p.took != took {
		t.Errorf("%s: got %s after %v, want %s after %v", what, got, p.took, want, took)
	}
}

// "The response has a length and ends after the first event(s) newer than the cursor, or after 20 s": each event comes
// once, and the client is one user all the time.
func TestPoll(t *testing.T) {
	inBubble(t, options{Token: "secret", History: 3, Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		news := func(n int) { b.emit(fmt.Sprintf(`{"event":"news","data":%d}`, n), false, bearer...) }
		p := b.poll("", "")
		p.want(t, "the first", 0, "user count 1")
		p = b.poll("", p.cursor)
		p.want(t, "nothing new", 20*time.Second)
		var emitting sync.WaitGroup
		emitting.Go(func() { time.Sleep(5 * time.Second); news(1) })
		p = b.poll("", p.cursor)
		emitting.Wait()
		p.want(t, "an event meanwhile", 5*time.Second, "news 1")
		news(2)
		news(3)
		b.WantUsers("lobby", 1)
		again := p.cursor
		p = b.poll("", p.cursor)
		p.want(t, "two events", 0, "news 2", "news 3")
		b.poll("", again).want(t, "an answer that got lost", 0, "news 2", "news 3")
		news(4)
		news(5)
		news(6)
		b.poll("", again).want(t, "too late", 0, `io:gap {"missed":2}`, "user count 1", "news 4", "news 5", "news 6")
		b.poll("", "rubbish").want(t, "rubbish", 0, `io:gap {"missed":null}`, "user count 2", "news 4", "news 5", "news 6")
	})
}

// "A newcomer sees a count that includes itself as its first count". This includes a client that was away so long that
// it is new again, in a room whose count was just sent.
func TestPollAfterLinger(t *testing.T) {
	for _, query := range []string{"", "id=abcdefgh"} {
		inBubble(t, options{Token: "secret", Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
			first := b.poll(query, "")
			b.emit(`{"event":"news","data":1}`, false, bearer...)
			time.Sleep(time.Minute)
			other := b.Open("")
			time.Sleep(time.Second)
			other.Cancel()
			var hello []string
			if query != "" {
				hello = []string{`io:hello {"id":"abcdefgh","ping":0,"heartbeat":10,"recovered":true}`}
			}
			p := b.poll(query, first.cursor)
			p.want(t, "back after a minute", 0, append(hello, "user count 1", "news 1")...)
			b.poll(query, p.cursor).want(t, "and again", 20*time.Second, hello...)
		})
	}
}

// Filters that refuse or rewrite event streams recognize them by the content type. The response has this type only if
// the client asks for it.
func TestPollType(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		for accept, want := range map[string]string{
			"text/event-stream": "text/event-stream", "text/event-stream, */*;q=0.1": "text/event-stream",
			"*/*": "text/plain; charset=utf-8", "": "text/plain; charset=utf-8", "text/html": "text/plain; charset=utf-8",
		} {
			a := b.Do("GET", "/events?poll=1", "", "Accept", accept)
			if got := a.Header.Get("Content-Type"); got != want || !strings.Contains(a.Body, "event: user count\ndata: ") {
				t.Errorf("Accept %q: got %q and %q, want %q and a count", accept, got, a.Body, want)
			}
		}
	})
}

// A page with many rooms asks for them in turn, with polls that do not wait. It is counted all the time, and leaves in
// the end.
func TestPollWithoutWaiting(t *testing.T) {
	inBubble(t, options{Token: "secret", Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		for _, way := range []struct {
			name, header, value string
			every, gone         time.Duration
		}{{"direct", "X-None", "", 20 * time.Second, 30 * time.Second}, {"behind a proxy", "Via", "1.1 proxy", 45 * time.Second, 60 * time.Second}} {
			watcher := b.Open("room=" + url.QueryEscape(way.name))
			body := fmt.Sprintf(`{"event":"news","data":1,"room":%q}`, way.name)
			cursor := ""
			for n := range 5 {
				begin := time.Now()
				a := b.Do("GET", "/events?poll=1&wait=0&id="+idA+"&room="+url.QueryEscape(way.name), "", "Last-Event-ID", cursor, way.header, way.value)
				if took := time.Since(begin); took != 0 || a.StatusCode != 200 {
					t.Errorf("%s: poll %d is answered after %v with %s, want at once", way.name, n, took, a.Status)
				}
				if got, want := strings.Count(a.Body, "event: news\n"), min(n, 1); got != want {
					t.Errorf("%s: poll %d has %d news, want %d", way.name, n, got, want)
				}
				in := ssetest.NewReader(strings.NewReader(a.Body))
				for {
					if _, err := in.Block(); err != nil {
						break
					}
				}
				cursor = in.LastEventID()
				b.emit(body, false, bearer...)
				time.Sleep(way.every)
			}
			time.Sleep(way.gone - way.every)
			watcher.WantCounts("1", "2", "1")
		}
		if a := b.Do("GET", "/events?poll=1&wait=1", ""); a.StatusCode != 400 {
			t.Errorf("wait=1: got %s, want 400", a.Status)
		}
	})
}
