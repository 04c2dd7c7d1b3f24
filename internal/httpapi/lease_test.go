package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/bubble"
)

// A client behind a proxy counts while it answers, in a busy room too. When it stops answering, its stream ends and it
// leaves the count within a minute. It comes back with the next answer.
func TestLease(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second, Token: "secret"}, func(t *testing.T, b *rig) {
		s := b.Open("id="+idA, "Via", "1.1 proxy")
		answer := func() { b.Do("POST", "/alive", `{"ids":["`+idA+`"]}`) }
		answer()
		answered := 0
		for range 10 * 60 { // ten minutes
			b.Do("POST", "/emit", `{"event":"news"}`, "Authorization", "Bearer secret")
			time.Sleep(time.Second)
			if asked := len(s.Values("io:ping")); asked > answered {
				answered = asked
				answer()
			}
			if got := b.users("lobby"); got != 1 {
				t.Fatalf("got %d users after %d answers, want 1", got, answered)
			}
		}
		if err := s.Ended(); err != nil {
			t.Fatalf("the stream of a reader that answers ended with %v", err)
		}
		time.Sleep(time.Minute) // frozen
		b.WantUsers("lobby", 0)
		if err := s.Ended(); err != io.EOF {
			t.Errorf("the stream of a reader that does not answer ended with %v, want a clean end", err)
		}
		answer() // thawed
		b.WantUsers("lobby", 1)
	})
}

// A stream behind a proxy that is never answered is probably buffered on the way. It ends soon, so that the proxy
// delivers the buffer. Its client reconnects at once, and the count does not flicker.
func TestLeaseNeverAnswered(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		watcher := b.Open("")
		time.Sleep(time.Second)
		s := b.Open("id="+idA, "X-Forwarded-For", "192.0.2.1")
		if hello := s.Values("io:hello")[0]; !strings.Contains(hello, `"ping":25`) {
			t.Errorf("got hello %s, want one that asks for answers", hello)
		}
		time.Sleep(6*time.Second + 1)
		if err := s.Ended(); err != io.EOF {
			t.Fatalf("after 6 s the stream ended with %v, want a clean end", err)
		}
		all := s.Got()
		if ms, err := strconv.Atoi(all[len(all)-1].Retry); err != nil || ms < 1 || ms > 500 {
			t.Errorf("got retry %q at the end, want a short one", all[len(all)-1].Retry)
		}
		time.Sleep(time.Second)
		poll := make(chan bubble.Answer, 1)
		go func() { poll <- b.Do("GET", "/events?poll=1&id="+idA, "") }()
		synctest.Wait()
		watcher.WantCounts("1", "2")
		<-poll
		time.Sleep(time.Minute)
		watcher.WantCounts("1", "2", "1")
	})
}

// A client that asked for another address than the one at which its request arrived may be behind a TCP relay. It stays
// counted without answers. After its first answer it must keep answering.
func TestLeaseBehindRelay(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		answers := b.Open("room=answers&id="+idA, "Host", "headcount.test:8000")
		mute := b.Open("room=mute&id="+idA, "Host", "headcount.test:8000")
		answer := func() { b.Do("POST", "/alive", `{"room":"answers","ids":["`+idA+`"]}`) }
		answer()
		answered := 0
		for range 5 * 60 {
			time.Sleep(time.Second)
			if asked := len(answers.Values("io:ping")); asked > answered {
				answered = asked
				answer()
			}
		}
		b.WantUsers("answers", 1)
		time.Sleep(time.Minute) // vanished
		b.WantUsers("answers", 0)
		if err := answers.Ended(); err != io.EOF {
			t.Errorf("the stream of who answers no more ended with %v, want a clean end", err)
		}
		b.WantUsers("mute", 1)
		if err := mute.Ended(); err != nil {
			t.Errorf("the stream of who never answers ended with %v", err)
		}
	})
}

// relayed compares the address that a client asked for with that of the server, 127.0.0.1:80.
func TestRelayed(t *testing.T) {
	inBubble(t, options{MaxAge: time.Minute}, func(t *testing.T, b *rig) {
		for host, asked := range map[string]bool{
			"": false, "another.test": false, "headcount.test:80": false, "127.0.0.1": false, "[::ffff:127.0.0.1]:80": false,
			"headcount.test:443": true, "127.0.0.1:8000": true, "192.0.2.1": true, "[::1]": true,
		} {
			s := b.Open("room="+url.QueryEscape("of "+host)+"&id="+idA, "Host", host)
			if got := strings.Contains(s.Values("io:hello")[0], `"ping":25`); got != asked {
				t.Errorf("host %q: asked for answers: %v, want %v", host, got, asked)
			}
		}
		for from, asked := range map[string]bool{
			"http://headcount.test/": false, "http://headcount.test:8000/": true, "https://headcount.test/": true, "nonsense": false,
		} {
			s := b.Open("room="+url.QueryEscape("from "+from)+"&id="+idA, "Referer", from)
			if got := strings.Contains(s.Values("io:hello")[0], `"ping":25`); got != asked {
				t.Errorf("referer %q: asked for answers: %v, want %v", from, got, asked)
			}
		}
		page := b.Open("room=page&id="+idA, "Referer", "https://another.test/", "User-Agent", "Mozilla/5.0", "Connection", "keep-alive")
		if hello := page.Values("io:hello")[0]; !strings.Contains(hello, `"ping":0`) {
			t.Errorf("a page of another site, direct: got hello %s, want one that asks for nothing", hello)
		}
		nameless := b.Open("room=nameless", "Host", "headcount.test:8000")
		time.Sleep(61 * time.Second)
		if err := nameless.Ended(); err != io.EOF {
			t.Errorf("after -max-age a stream without id ended with %v, want a clean end", err)
		}
	})
}

// A client that polls through a proxy gets more time to reconnect, because the proxy may be slow.
func TestDetour(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		for via, longest := range map[string]time.Duration{"": 9 * time.Second, "1.1 slow": 12 * time.Second} {
			header := []string{"User-Agent", "Mozilla/5.0", "Connection", "keep-alive"}
			if via != "" {
				header = append(header, "Via", via)
			}
			b.Do("GET", "/events?poll=1&id="+idA, "", header...) // answered at once
			time.Sleep(longest - 100*time.Millisecond)
			b.WantUsers("lobby", 1)
			time.Sleep(200 * time.Millisecond)
			b.WantUsers("lobby", 0)
		}
	})
}

// A client that polls through a slow proxy and tries a stream at the same time stays counted when the stream ends while
// a response is in transit. So does a client whose stream the server has ended and the proxy delivers slowly.
func TestDetourOfTwo(t *testing.T) {
	const proxy = "1.1 slow"
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		watcher := b.Open("")
		b.Do("GET", "/events?poll=1&id="+idA, "", "Via", proxy)
		trial := b.Open("id="+idA, "Via", proxy)
		time.Sleep(2 * time.Second)
		trial.Cancel()
		time.Sleep(8 * time.Second)
		b.Do("GET", "/events?poll=1&id="+idA, "", "Via", proxy)
		watcher.WantCounts("1", "2")

		held := b.Open("id="+idA, "Via", proxy)
		time.Sleep(13 * time.Second)
		if held.Ended() == nil {
			t.Error("the stream that nobody answers goes on")
		}
		b.Do("GET", "/events?poll=1&id="+idA, "", "Via", proxy)
		watcher.WantCounts("1", "2")
		time.Sleep(time.Minute)
		watcher.WantCounts("1", "2", "1")
	})
}

// A polling client that came back and then left gets no longer grace period, because the proxy reports that it left.
func TestDetourDone(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		first := b.poll("id="+idA, "")
		ctx, cut := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "GET", "http://headcount.test/events?poll=1&id="+idA+"&lastEventId="+first.cursor, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Via", "1.1 proxy")
		ended := make(chan error, 1)
		go func() {
			answer, err := b.Client.Do(req)
			if err == nil {
				_ = answer.Body.Close()
			}
			ended <- err
		}()
		synctest.Wait()
		cut()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("the poll ended with %v, want it to wait until it is cut", err)
		}
		time.Sleep(1900 * time.Millisecond)
		b.WantUsers("lobby", 1)
		time.Sleep(200 * time.Millisecond)
		b.WantUsers("lobby", 0)
	})
}

// A goodbye may overtake a poll. Then the poll is answered at once as that of a new user, and nobody reconnects. The
// user leaves the count after the grace period for slow clients.
func TestGoodbyeOvertakesPoll(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		first := b.poll("id="+idA, "")
		b.Do("POST", "/leave", `{"ids":["`+idA+`"]}`, "Via", "1.1 proxy")
		b.WantUsers("lobby", 0)
		begin := time.Now()
		b.Do("GET", "/events?poll=1&id="+idA+"&lastEventId="+first.cursor, "", "Via", "1.1 proxy")
		if took := time.Since(begin); took != 0 {
			t.Errorf("the late poll was answered after %v, want at once", took)
		}
		time.Sleep(12*time.Second + time.Millisecond)
		b.WantUsers("lobby", 0)
	})
}

// A tab that follows another one by now stays counted, although a proxy reports the end of its own stream late.
func TestLateEndOfFollower(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		watcher := b.Open("")
		alive := func() { b.Do("POST", "/alive", `{"ids":["`+idA+`"]}`, "Via", "1.1 proxy") }
		own := b.Open("id="+idA, "Via", "1.1 proxy")
		alive()
		time.Sleep(time.Minute / 4)
		b.Do("GET", "/events?poll=1&id="+idA, "", "Via", "1.1 proxy")
		alive()
		time.Sleep(time.Minute / 4)
		own.Cancel()
		for range 5 {
			time.Sleep(22 * time.Second)
			alive()
		}
		watcher.WantCounts("1", "2")
	})
}

// Answers for one stream of an id arrive while the next stream opens. This is a test for the race detector.
func TestAliveWhileJoining(t *testing.T) {
	e, app, _, end := start(t, options{})
	defer end()
	ctx, stop := context.WithCancel(t.Context())
	var alive sync.WaitGroup
	for range 4 {
		alive.Go(func() {
			for over := false; !over; {
				over = ctx.Err() != nil // the last answer comes after the last stream
				r := httptest.NewRequest("POST", "/alive", strings.NewReader(`{"ids":["`+idA+`"]}`))
				app.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
	for range 2000 {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		r := httptest.NewRequestWithContext(gone, http.MethodGet, "/events?id="+idA, nil)
		r.Header.Set("Via", "1.1 proxy")
		app.ServeHTTP(httptest.NewRecorder(), r)
	}
	stop()
	alive.Wait()
	if got := e.Users().Count("lobby"); got != 1 {
		t.Errorf("got %d users, want 1", got)
	}
}
