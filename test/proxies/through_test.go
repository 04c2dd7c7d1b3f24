package proxies

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// Every configuration, two at a time: what becomes of a stream, whether polls and
// cursors pass, whether readers are back after the server's restart, and what the
// browser's client makes of it.
func TestThrough(t *testing.T) {
	t.Parallel() // with the others, which wait
	chrome := startChrome(t)
	rig.Build(t, "client") // now, and not while it is timed
	all := All()
	rows := make([]string, len(all))
	const lanes = 2
	for lane := range lanes {
		t.Run(fmt.Sprint("lane ", lane), func(t *testing.T) {
			t.Parallel()
			for i := lane; i < len(all); i += lanes {
				t.Run(all[i].Name, func(t *testing.T) { rows[i] = through(t, chrome, all[i]) })
			}
		})
	}
	t.Cleanup(func() { // behind both lanes
		publish(t, "streams", "| proxy | a stream passes | an event takes | the page takes | right count after | back after a restart in |\n|---|---|---|---|---|---|\n"+
			strings.Join(rows, ""))
	})
}

// through tests one configuration and returns its row of the table.
func through(t *testing.T, chrome *chrome, p Proxy) (row string) {
	server := rig.Start(t, "-token", token, "-drain", "1s", "-h2c")
	via := p.Start(t, server.Addr)

	held := startCurl(t, via, "/events?room=held&id=held-back")
	watch, began := startWatch(t, via), time.Now()
	verdict, delay := judge(t, server, via)
	if verdict != p.Streams {
		t.Errorf("stream of curl passes %s, want %s", verdict, p.Streams)
	}
	polls(t, server, via)
	resumes(t, server, via)
	transport, shown := chrome.shows(t, server, via)
	watches(t, server, via, watch, began)
	// The server ends a stream that nobody answers, which hands over what was held.
	if p.Streams == Whole && !p.Disguised {
		rig.Wait(t, 8*time.Second, "the held stream to end", func() bool {
			select {
			case <-held.ended:
				return true
			default:
				return false
			}
		})
		if held.when("data: 1").IsZero() {
			t.Errorf("the stream that the server ended printed:\n%s", held.text())
		}
	}
	back := returns(t, server, via)
	later := "–"
	if verdict == Live {
		later = fmt.Sprintf("%.0f ms", float64(delay)/float64(time.Millisecond))
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %.1f s | %.1f s |\n", p.Name, verdict, later, transport, shown.Seconds(), back.Seconds())
}

// A reader without id that has left behind a proxy which never says so: -max-age is
// what ends its stream.
func TestMaxAge(t *testing.T) {
	t.Parallel()
	server := rig.Start(t, "-max-age", "3s")
	for _, p := range All() {
		if p.Hears == Never && p.Streams == Live {
			via := p.Start(t, server.Addr)
			c := startCurl(t, via, "/events?room=old")
			if c.wait(startOf, "data: 1").IsZero() {
				t.Fatal("no count within", startOf)
			}
			c.kill()
			rig.Wait(t, 5*time.Second, "its stream to end", func() bool { return server.Count("old") == 0 })
		}
	}
}

// polls checks poll mode: an answer at once, every event within a second and once, the
// right count.
func polls(t *testing.T, server *rig.Server, via *Running) {
	t.Helper()
	it := read(t, via, "polls", "poller-one", true)
	it.Await(t, time.Second, "user count", "1")
	other := read(t, via, "polls", "poller-two", true)
	other.Await(t, time.Second, "user count", "2")
	it.Await(t, time.Second, "user count", "2")
	for i := range 3 {
		emit(t, server, "polls", "news", fmt.Sprint(i))
		it.Await(t, time.Second, "news", fmt.Sprint(i))
	}
	other.leave()
	it.Await(t, time.Second, "user count", "1")
	if got := server.Count("polls"); got != 1 {
		t.Errorf("server counts %d pollers, want 1", got)
	}
	if got := it.Got("news"); len(got) != 3 {
		t.Errorf("a poller got %d news, want 3: %v", len(got), got)
	}
	if got := it.Got("io:gap"); len(got) > 0 {
		t.Errorf("a poller was told of a gap: %v", got)
	}
	it.leave()
}

// resumes checks that the header Last-Event-ID passes, with a poll, and with a stream
// where those are live.
func resumes(t *testing.T, server *rig.Server, via *Running) {
	t.Helper()
	modes := []bool{true}
	if via.Streams == Live {
		modes = append(modes, false)
	}
	for i, poll := range modes {
		room := fmt.Sprint("resumes-", i)
		emit(t, server, room, "first", "seen")
		before := read(t, via, room, "resumer-one", true)
		before.Await(t, 2*time.Second, "user count", "1")
		before.leave()
		const missed = "missed"
		emit(t, server, room, missed, "now")

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		after := &rig.Subscriber{URL: via.URL, Room: room, Poll: poll, Transport: via.Transport()}
		after.SetCursor(before.Cursor())
		after.Take = func(_ context.Context, e *rig.Event) bool {
			if e.Name == missed {
				cancel()
			}
			return true
		}
		err := after.Read(ctx)
		cancel()
		after.Transport.CloseIdleConnections()
		if len(after.Got(missed)) != 1 || len(after.Got("first")) > 0 || len(after.Got("io:gap")) > 0 {
			t.Errorf("after Last-Event-ID %s (poll: %v) came %v (%v), want the event %s, nothing older and no gap", before.Cursor(), poll, after.Events(), err, missed)
		}
	}
}

// returns restarts the server and returns how long a reader took to be back.
func returns(t *testing.T, server *rig.Server, via *Running) time.Duration {
	t.Helper()
	it := read(t, via, "returns", "returner", via.Streams != Live)
	it.Await(t, 4*time.Second, "user count", "1")
	seen := len(it.Got("user count"))
	server.Stop()
	server.Restart()
	began := time.Now()
	rig.Wait(t, 20*time.Second, "the reader to be back", func() bool { return len(it.Got("user count")) > seen })
	took := time.Since(began)
	it.Await(t, time.Second, "user count", "1")
	if got := server.Count("returns"); got != 1 {
		t.Errorf("server counts %d after its restart, want 1", got)
	}
	it.leave()
	return took
}
