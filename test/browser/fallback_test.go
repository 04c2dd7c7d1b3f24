package browser

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// follow makes the page log everything that its socket gets, one line each.
const follow = `
	window.socket = io()
	socket.on('connect', () => console.log('connect ' + socket.transport + (socket.recovered ? ' recovered' : '')))
	socket.on('transport', (way) => console.log('transport ' + way))
	socket.on('disconnect', (reason) => console.log('disconnect ' + reason))
	socket.on('gap', (gap) => console.log('gap'))
	socket.onAny((name, data) => console.log(name + ' ' + data))
	true`

func (tb *tab) logs(deadline time.Duration, line string) {
	tb.t.Helper()
	defer func() {
		if tb.t.Failed() {
			tb.t.Logf("logged: %q, problems: %q", tb.lines(), tb.faults())
		}
	}()
	rig.Wait(tb.t, deadline, fmt.Sprintf("%q logged", line), func() bool { return slices.Contains(tb.lines(), line) })
}

// only returns the lines that begin with prefix.
func (tb *tab) only(prefix string) []string {
	return slices.DeleteFunc(tb.lines(), func(line string) bool { return !strings.HasPrefix(line, prefix) })
}

// Where no stream gets through, polls do the same. The right count is there within 4 s, and each event within a second
// and once.
func TestFallback(t *testing.T) {
	for name, how := range map[string]manner{"held back": holds, "mute": mutes, "forbidden": forbids} {
		t.Run(name, func(t *testing.T) {
			server := rig.Start(t, "-token", token)
			box := newBox(t, server, how)
			direct := newChrome(t).open(server.URL + "/test/lesson.html")
			direct.expect(slow, "1")

			chrome := newChrome(t) // another browser, else it would share
			tb := chrome.open(box.URL + "/test/client.html")
			begin := time.Now()
			eval[bool](tb, follow)
			tb.expect(4*time.Second, "user count 2")
			t.Logf("counted %v after opening", time.Since(begin).Round(time.Millisecond))
			if got := eval[string](tb, `socket.transport`); got != "poll" {
				t.Errorf("the transport is %s, want poll", got)
			}
			id := eval[string](tb, `socket.id`)

			var want []string
			var longest time.Duration
			for i := range 20 {
				line := fmt.Sprintf("news %d", i)
				want = append(want, line)
				sent := time.Now()
				emit(t, server, "lobby", "news", fmt.Sprint(i))
				tb.logs(time.Second, line)
				longest = max(longest, time.Since(sent))
			}
			t.Logf("the slowest of 20 events took %v", longest.Round(time.Millisecond))
			// Five at once come in one answer.
			for i := 20; i < 25; i++ {
				want = append(want, fmt.Sprintf("news %d", i))
				emit(t, server, "lobby", "news", fmt.Sprint(i))
			}
			tb.logs(time.Second, "news 24")
			if got := tb.only("news"); !slices.Equal(got, want) {
				t.Errorf("heard %q, want %q", got, want)
			}
			if got := direct.lines(); !slices.Equal(got, []string{"1", "2"}) {
				t.Errorf("the other saw the counts %q, want 1, 2: it was counted twice, or dropped", got)
			}
			box.mu.Lock()
			for _, q := range box.asked {
				if q.Get("id") != id {
					t.Errorf("asked as %s, want as %s throughout", q.Get("id"), id)
				}
			}
			box.mu.Unlock()

			// What worked is remembered while the tab is there.
			_, _, before, _ := box.seen()
			tb.forget()
			tb.goTo(box.URL + "/test/client.html")
			eval[bool](tb, follow)
			tb.expect(time.Second, "user count 2")
			if _, _, after, _ := box.seen(); after != before {
				t.Errorf("asked for %d streams more after it had found out", after-before)
			}
			tb.close()
			direct.expect(gone, "1")
			tb.faultless("502 (Bad Gateway)")
		})
	}
}

// The server does not notice that a stream behind a middlebox has ended. It counts nobody twice or too long because of
// that.
func TestFallbackLeavesNobody(t *testing.T) {
	t.Parallel() // it mostly waits
	server := rig.Start(t)
	box := newBox(t, server, holds)
	tb := newChrome(t).open(box.URL + "/test/lesson.html")
	tb.expect(4*time.Second, "1")
	begin := time.Now()
	rig.Wait(t, slow, "12 seconds to pass", func() bool {
		if got := server.Count("lobby"); got != 1 {
			t.Fatalf("/count says %d after %v, want 1", got, time.Since(begin))
		}
		return time.Since(begin) > 12*time.Second
	})
	if got := tb.lines(); !slices.Equal(got, []string{"1"}) {
		t.Errorf("logged %q, want 1 alone", got)
	}
	tb.close()
	rig.Wait(t, gone, "nobody", func() bool { return server.Count("lobby") == 0 })
}

// Some middleboxes let the first bytes of each stream pass and nothing else. The client notices that, first after a
// timeout and then by a trial stream beside the polls. It then makes no other trial for a minute.
func TestFallbackOfMuteStream(t *testing.T) {
	t.Parallel() // it mostly waits
	server := rig.Start(t, "-token", token, "-heartbeat", "1s")
	box := newBox(t, server, deafens)
	tb := newChrome(t).open(box.URL + "/test/client.html")
	eval[bool](tb, follow)
	tb.logs(slow, "connect stream")
	emit(t, server, "lobby", "news", "1")
	tb.logs(slow, "connect poll recovered")
	tb.logs(slow, "news 1")
	emit(t, server, "lobby", "news", "2")
	tb.logs(time.Second, "news 2")
	begin := time.Now()
	rig.Wait(t, slow, "10 seconds to pass", func() bool { return time.Since(begin) > 10*time.Second })
	if _, _, streams, _ := box.seen(); streams != 2 {
		t.Errorf("asked for a stream %d times, want twice", streams)
	}
	if got := tb.only("connect "); len(got) != 2 {
		t.Errorf("heard %q, want two", got)
	}
	if got, want := tb.only("news"), []string{"news 1", "news 2"}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	tb.faultless()
}

// The client tries a stream beside its polls, and changes to it if it works. No event is lost or doubled, and nobody's
// count changes.
func TestStreamAgain(t *testing.T) {
	server := rig.Start(t, "-token", token, "-heartbeat", "1s")
	box := newBox(t, server, holds)
	witness := newChrome(t).open(server.URL + "/test/lesson.html")
	witness.expect(slow, "1")
	tb := newChrome(t).open(box.URL + "/test/client.html")
	// As if the polls had worked for long.
	eval[bool](tb, `sessionStorage[location.origin + '/'] = 1; true`)
	eval[bool](tb, follow)
	tb.logs(slow, "connect poll")
	n := 0
	next := func() {
		n++
		emit(t, server, "lobby", "news", fmt.Sprint(n))
		tb.logs(2*time.Second, fmt.Sprintf("news %d", n))
	}
	rig.Wait(t, slow, "a trial that fails", func() bool { next(); _, _, streams, _ := box.seen(); return streams == 1 })
	rig.Wait(t, slow, "its end", func() bool { next(); open, _, _, _ := box.seen(); return open == 0 })
	if got := eval[string](tb, `socket.transport`); got != "poll" {
		t.Errorf("the transport is %s, want poll", got)
	}

	box.becomes(passes)
	tb.goTo(box.URL + "/test/client.html")
	tb.forget()
	eval[bool](tb, `sessionStorage[location.origin + '/'] = 1; true`)
	n = 0
	eval[bool](tb, follow)
	tb.logs(slow, "connect poll")
	rig.Wait(t, slow, "a stream", func() bool { next(); return eval[string](tb, `socket.transport`) == "stream" })
	for range 5 {
		next()
	}
	if got := tb.only("news"); len(got) != n {
		t.Errorf("heard %q, want %d", got, n)
	}
	if got, want := tb.only("transport"), []string{"transport poll", "transport stream"}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if got := tb.only("disconnect"); len(got) != 0 {
		t.Errorf("heard %q", got)
	}
	if got := eval[string](tb, `sessionStorage[location.origin + '/']`); got != "" {
		t.Errorf("remembers %q, want nothing", got)
	}
	tb.faultless()
}

// A connection that is cut every few seconds loses no event and changes nobody's count.
func TestCuts(t *testing.T) {
	t.Parallel() // it mostly waits
	server := rig.Start(t, "-token", token)
	box := newBox(t, server, cuts)
	witness := newChrome(t).open(server.URL + "/test/lesson.html")
	witness.expect(slow, "1")
	tb := newChrome(t).open(box.URL + "/test/client.html")
	eval[bool](tb, follow)
	tb.logs(slow, "connect stream")
	var want []string
	for i := range 100 { // for ten seconds
		want = append(want, fmt.Sprintf("news %d", i))
		emit(t, server, "lobby", "news", fmt.Sprint(i))
		sent := time.Now()
		rig.Wait(t, slow, "0.1 s to pass", func() bool { return time.Since(sent) > 100*time.Millisecond })
	}
	tb.logs(slow, "news 99")
	if got := tb.only("news"); !slices.Equal(got, want) {
		t.Errorf("heard %q", got)
	}
	if got := tb.only("connect "); len(got) < 3 || slices.Contains(got[1:], "connect stream") {
		t.Errorf("heard %q, want several, all but the first recovered", got)
	}
	if got := witness.lines(); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("the other saw the counts %q, want 1, 2", got)
	}
}
