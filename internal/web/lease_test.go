package web_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/web"
)

// A reader behind a proxy counts while it answers, in a busy room too; when it falls
// silent, its stream ends and it is gone within a minute; it comes back by answering.
func TestLease(t *testing.T) {
	inBubble(t, web.Options{Linger: 2 * time.Second, Token: "secret"}, func(t *testing.T, b *bubble) {
		s := b.open("id="+idA, "Via", "1.1 proxy")
		answer := func() { b.do("POST", "/alive", `{"ids":["`+idA+`"]}`) }
		answer()
		answered := 0
		for range 10 * 60 { // ten minutes
			b.do("POST", "/emit", `{"event":"news"}`, "Authorization", "Bearer secret")
			time.Sleep(time.Second)
			if asked := len(s.values("io:ping")); asked > answered {
				answered = asked
				answer()
			}
			if got := b.app.Users("lobby"); got != 1 {
				t.Fatalf("got %d users after %d answers, want 1", got, answered)
			}
		}
		if err := s.ended(); err != nil {
			t.Fatalf("the stream of a reader that answers ended with %v", err)
		}
		time.Sleep(time.Minute) // frozen
		b.wantUsers("lobby", 0)
		if err := s.ended(); err != io.EOF {
			t.Errorf("the stream of a reader that does not answer ended with %v, want a clean end", err)
		}
		answer() // thawed
		b.wantUsers("lobby", 1)
	})
}

// A stream behind a proxy that is never answered is held back on the way: it ends
// soon, which hands over what it holds, and its reader, told to be back at once, makes
// no flicker.
func TestLeaseNeverAnswered(t *testing.T) {
	inBubble(t, web.Options{Linger: 2 * time.Second}, func(t *testing.T, b *bubble) {
		watcher := b.open("")
		time.Sleep(time.Second)
		s := b.open("id="+idA, "X-Forwarded-For", "192.0.2.1")
		if hello := s.values("io:hello")[0]; !strings.Contains(hello, `"ping":25`) {
			t.Errorf("got hello %s, want one that asks for answers", hello)
		}
		time.Sleep(6*time.Second + 1)
		if err := s.ended(); err != io.EOF {
			t.Fatalf("after 6 s the stream ended with %v, want a clean end", err)
		}
		all := s.got()
		if ms, err := strconv.Atoi(all[len(all)-1].Retry); err != nil || ms < 1 || ms > 500 {
			t.Errorf("got retry %q at the end, want a short one", all[len(all)-1].Retry)
		}
		time.Sleep(time.Second)
		poll := make(chan answer, 1)
		go func() { poll <- b.do("GET", "/events?poll=1&id="+idA, "") }()
		synctest.Wait()
		watcher.wantCounts("1", "2")
		<-poll
		time.Sleep(time.Minute)
		watcher.wantCounts("1", "2", "1")
	})
}

// Who asked for another address than the one at which the request arrived may sit behind a relay of TCP. Nothing is taken
// from those who do not answer; those who do are held to it.
func TestLeaseBehindRelay(t *testing.T) {
	inBubble(t, web.Options{Linger: 2 * time.Second}, func(t *testing.T, b *bubble) {
		answers := b.open("room=answers&id="+idA, "Host", "headcount.test:8000")
		mute := b.open("room=mute&id="+idA, "Host", "headcount.test:8000")
		answer := func() { b.do("POST", "/alive", `{"room":"answers","ids":["`+idA+`"]}`) }
		answer()
		answered := 0
		for range 5 * 60 {
			time.Sleep(time.Second)
			if asked := len(answers.values("io:ping")); asked > answered {
				answered = asked
				answer()
			}
		}
		b.wantUsers("answers", 1)
		time.Sleep(time.Minute) // vanished
		b.wantUsers("answers", 0)
		if err := answers.ended(); err != io.EOF {
			t.Errorf("the stream of who answers no more ended with %v, want a clean end", err)
		}
		b.wantUsers("mute", 1)
		if err := mute.ended(); err != nil {
			t.Errorf("the stream of who never answers ended with %v", err)
		}
	})
}

// The address that a client asked for, and whether it can be that of the server itself, which has 127.0.0.1:80.
func TestReaddressed(t *testing.T) {
	inBubble(t, web.Options{MaxAge: time.Minute}, func(t *testing.T, b *bubble) {
		for host, asked := range map[string]bool{
			"": false, "another.test": false, "headcount.test:80": false, "127.0.0.1": false, "[::ffff:127.0.0.1]:80": false,
			"headcount.test:443": true, "127.0.0.1:8000": true, "192.0.2.1": true, "[::1]": true,
		} {
			s := b.open("room="+url.QueryEscape("of "+host)+"&id="+idA, "Host", host)
			if got := strings.Contains(s.values("io:hello")[0], `"ping":25`); got != asked {
				t.Errorf("host %q: asked for answers: %v, want %v", host, got, asked)
			}
		}
		for from, asked := range map[string]bool{
			"http://headcount.test/": false, "http://headcount.test:8000/": true, "https://headcount.test/": true, "nonsense": false,
		} {
			s := b.open("room="+url.QueryEscape("from "+from)+"&id="+idA, "Referer", from)
			if got := strings.Contains(s.values("io:hello")[0], `"ping":25`); got != asked {
				t.Errorf("referer %q: asked for answers: %v, want %v", from, got, asked)
			}
		}
		page := b.open("room=page&id="+idA, "Referer", "https://another.test/", "User-Agent", "Mozilla/5.0", "Connection", "keep-alive")
		if hello := page.values("io:hello")[0]; !strings.Contains(hello, `"ping":0`) {
			t.Errorf("a page of another site, direct: got hello %s, want one that asks for nothing", hello)
		}
		nameless := b.open("room=nameless", "Host", "headcount.test:8000")
		time.Sleep(61 * time.Second)
		if err := nameless.ended(); err != io.EOF {
			t.Errorf("after -max-age a stream without id ended with %v, want a clean end", err)
		}
	})
}

// A name without a port stands for 443 where there is TLS.
func TestReaddressedWithTLS(t *testing.T) {
	for port, want := range map[int]bool{443: false, 80: true} {
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://headcount.test/events", nil)
		if got := web.Readdressed(r); got != want {
			t.Errorf("arrived at port %d: got %v, want %v", port, got, want)
		}
	}
}

// Who polls by way of a proxy is given longer to come back: a slow one is not to drop anybody.
func TestDetour(t *testing.T) {
	inBubble(t, web.Options{Linger: 2 * time.Second}, func(t *testing.T, b *bubble) {
		for via, longest := range map[string]time.Duration{"": 9 * time.Second, "1.1 slow": 12 * time.Second} {
			header := []string{"User-Agent", "Mozilla/5.0", "Connection", "keep-alive"}
			if via != "" {
				header = append(header, "Via", via)
			}
			b.do("GET", "/events?poll=1&id="+idA, "", header...) // answered at once
			time.Sleep(longest - 100*time.Millisecond)
			b.wantUsers("lobby", 1)
			time.Sleep(200 * time.Millisecond)
			b.wantUsers("lobby", 0)
		}
	})
}

// Who polls by way of a slow proxy, and tries a stream beside, is not dropped because that ends while an
// answer is on its way; nor who reads a stream that the proxy hands over slowly, when the server has ended it.
func TestDetourOfTwo(t *testing.T) {
	const proxy = "1.1 slow"
	inBubble(t, web.Options{Linger: 2 * time.Second}, func(t *testing.T, b *bubble) {
		watcher := b.open("")
		b.do("GET", "/events?poll=1&id="+idA, "", "Via", proxy)
		trial := b.open("id="+idA, "Via", proxy)
		time.Sleep(2 * time.Second)
		trial.cancel()
		time.Sleep(8 * time.Second)
		b.do("GET", "/events?poll=1&id="+idA, "", "Via", proxy)
		watcher.wantCounts("1", "2")

		held := b.open("id="+idA, "Via", proxy)
		time.Sleep(13 * time.Second)
		if held.ended() == nil {
			t.Error("the stream that nobody answers goes on")
		}
		b.do("GET", "/events?poll=1&id="+idA, "", "Via", proxy)
		watcher.wantCounts("1", "2")
		time.Sleep(time.Minute)
		watcher.wantCounts("1", "2", "1")
	})
}

// A poller that came back and then left, which the proxy says, is not waited for any longer than others.
func TestDetourDone(t *testing.T) {
	inBubble(t, web.Options{Linger: 2 * time.Second}, func(t *testing.T, b *bubble) {
		first := b.poll("id="+idA, "")
		ctx, cut := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "GET", "http://headcount.test/events?poll=1&id="+idA+"&lastEventId="+first.cursor, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Via", "1.1 proxy")
		ended := make(chan error, 1)
		go func() {
			answer, err := b.client.Do(req)
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
		b.wantUsers("lobby", 1)
		time.Sleep(200 * time.Millisecond)
		b.wantUsers("lobby", 0)
	})
}

// A poll that its reader's goodbye has overtaken on the way is answered at once, as a newcomer's, and
// nobody comes again: it is a ghost for no longer than a slow reader is waited for.
func TestGoodbyeOvertakesPoll(t *testing.T) {
	inBubble(t, web.Options{Linger: 2 * time.Second}, func(t *testing.T, b *bubble) {
		first := b.poll("id="+idA, "")
		b.do("POST", "/leave", `{"ids":["`+idA+`"]}`, "Via", "1.1 proxy")
		b.wantUsers("lobby", 0)
		begin := time.Now()
		b.do("GET", "/events?poll=1&id="+idA+"&lastEventId="+first.cursor, "", "Via", "1.1 proxy")
		if took := time.Since(begin); took != 0 {
			t.Errorf("the late poll was answered after %v, want at once", took)
		}
		time.Sleep(12*time.Second + time.Millisecond)
		b.wantUsers("lobby", 0)
	})
}

// A tab that follows another one by now stays, though a proxy says only late that its own stream has ended.
func TestLateEndOfFollower(t *testing.T) {
	inBubble(t, web.Options{Linger: 2 * time.Second}, func(t *testing.T, b *bubble) {
		watcher := b.open("")
		alive := func() { b.do("POST", "/alive", `{"ids":["`+idA+`"]}`, "Via", "1.1 proxy") }
		own := b.open("id="+idA, "Via", "1.1 proxy")
		alive()
		time.Sleep(time.Minute / 4)
		b.do("GET", "/events?poll=1&id="+idA, "", "Via", "1.1 proxy")
		alive()
		time.Sleep(time.Minute / 4)
		own.cancel()
		for range 5 {
			time.Sleep(22 * time.Second)
			alive()
		}
		watcher.wantCounts("1", "2")
	})
}

// The answers of one stream of an id come while the next one is about to open: for the
// race detector.
func TestAliveWhileJoining(t *testing.T) {
	app, err := web.New(web.Options{Writer: web.Portable})
	if err != nil {
		t.Fatal(err)
	}
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
	if got := app.Users("lobby"); got != 1 {
		t.Errorf("got %d users, want 1", got)
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}
