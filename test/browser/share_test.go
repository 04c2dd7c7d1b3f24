package browser

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"headcount/test/rig"
)

// hosts are the names under which browsers reach the box. localhost has Web Locks. Another name on plain HTTP has
// none, and it is where old proxies are used.
var hosts = []struct {
	name   string
	secure bool
}{{"localhost", true}, {"real.test", false}}

func (b *box) url(t *testing.T, host string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(b.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + net.JoinHostPort(host, port)
}

// share opens n tabs one after the other, as people do. It waits until each has the count of all.
func share(t *testing.T, chrome *chrome, url string, n int) []*tab {
	t.Helper()
	var tabs []*tab
	for i := range n {
		tb := chrome.open(url + "/page/client.html")
		tb.t = t
		eval[bool](tb, follow)
		tb.logs(slow, fmt.Sprintf("user count %d", i+1))
		if first := tb.only("user count")[0]; first != fmt.Sprintf("user count %d", i+1) {
			t.Errorf("tab %d saw %q first, want a count that includes it", i+1, first)
		}
		tabs = append(tabs, tb)
	}
	for _, tb := range tabs {
		tb.logs(slow, fmt.Sprintf("user count %d", n))
	}
	return tabs
}

// leader returns the tab that has the connection, and the other tabs.
func leader(t *testing.T, tabs []*tab) (*tab, []*tab) {
	t.Helper()
	var leads, follows []*tab
	for _, tb := range tabs {
		if eval[string](tb, `socket.transport`) == "shared" {
			follows = append(follows, tb)
		} else {
			leads = append(leads, tb)
		}
	}
	if len(leads) != 1 {
		t.Fatalf("%d of %d tabs lead, want one", len(leads), len(tabs))
	}
	return leads[0], follows
}

// feed emits news 0, news 1 and so on, twenty times a second until it is stopped.
type feed struct {
	end  chan struct{}
	once sync.Once
	done sync.WaitGroup
	sent int
}

func newFeed(t *testing.T, server *rig.Server) *feed {
	f := &feed{end: make(chan struct{})}
	t.Cleanup(f.finish)
	f.done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-f.end:
				return
			case <-tick.C:
				emit(t, server, "lobby", "news", fmt.Sprint(f.sent))
				f.sent++
			}
		}
	})
	return f
}

func (f *feed) finish() {
	f.once.Do(func() { close(f.end) })
	f.done.Wait()
}

// stop ends the feed and checks that every tab has got all of it, once and in order.
func (f *feed) stop(t *testing.T, tabs ...*tab) {
	t.Helper()
	f.finish()
	want := make([]string, f.sent)
	for i := range want {
		want[i] = fmt.Sprintf("news %d", i)
	}
	for i, tb := range tabs {
		tb.logs(slow, want[len(want)-1])
		if got := tb.only("news"); !slices.Equal(got, want) {
			t.Errorf("tab %d heard %s", i, difference(got, want))
		}
	}
}

// difference describes where got differs from want.
func difference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("%d of %d, and %q where %q was due", len(got), len(want), got[i], want[i])
		}
	}
	return fmt.Sprintf("%d events, want %d", len(got), len(want))
}

func (f *feed) running(t *testing.T, tabs []*tab) {
	t.Helper()
	for _, tb := range tabs {
		rig.Wait(t, slow, "news", func() bool { return len(tb.only("news")) > 5 })
	}
}

// Twelve tabs share one stream and are twelve users, whichever tab is closed. A browser has only six connections for a
// host.
func TestTwelveTabs(t *testing.T) {
	for _, host := range hosts {
		for _, how := range []struct {
			name string
			manner
			way string
		}{{"stream", passes, "stream"}, {"polls", holds, "poll"}} {
			t.Run(host.name+" "+how.name, func(t *testing.T) {
				server := rig.Start(t, "-token", token)
				box := newBox(t, server, how.manner)
				tabs := share(t, newChrome(t), box.url(t, host.name), 12)
				if got := eval[bool](tabs[0], `isSecureContext && !!navigator.locks`); got != host.secure {
					t.Fatalf("secure with locks: %v, want %v", got, host.secure)
				}
				first, others := leader(t, tabs)
				if got := eval[string](first, `socket.transport`); got != how.way {
					t.Errorf("the leader's transport is %s, want %s", got, how.way)
				}
				open, most, streams, _ := box.seen()
				if how.way == "stream" && (open != 1 || most != 1 || streams != 1) {
					t.Errorf("%d streams are open, %d at most, %d in all; want 1", open, most, streams)
				}
				// And there is a connection left for everything else.
				if got := eval[int](tabs[11], `fetch('/count').then((r) => r.json()).then((c) => c.users)`); got != 12 {
					t.Errorf("/count says %d, want 12", got)
				}

				feed := newFeed(t, server)
				feed.running(t, tabs)
				sent := time.Now()
				first.close()
				for _, tb := range others {
					tb.logs(gone-time.Since(sent), "user count 11")
				}
				t.Logf("11 everywhere %v after the leader was closed", time.Since(sent).Round(time.Millisecond))
				// The next one follows a link.
				second, rest := leader(t, waitLead(t, others))
				feed.running(t, others)
				sent = time.Now()
				second.do("follow a link", chromedp.Evaluate[chromedp.Void](`location.href = '/test/away.html'`))
				for _, tb := range rest {
					tb.logs(gone-time.Since(sent), "user count 10")
				}
				t.Logf("10 everywhere %v after the next leader had gone elsewhere", time.Since(sent).Round(time.Millisecond))
				waitLead(t, rest)
				feed.stop(t, rest...)
				for i, tb := range rest {
					if got := tb.only("disconnect"); len(got) > 0 {
						t.Errorf("tab %d heard %q", i, got)
					}
					tb.faultless()
				}
				if got := server.Count("lobby"); got != 10 {
					t.Errorf("/count says %d, want 10", got)
				}
			})
		}
	}
}

// waitLead waits until one of the tabs leads.
func waitLead(t *testing.T, tabs []*tab) []*tab {
	t.Helper()
	rig.Wait(t, slow, "a leader", func() bool {
		return slices.ContainsFunc(tabs, func(tb *tab) bool {
			return !strings.Contains("shared undefined", eval[string](tb, `String(socket.transport)`))
		})
	})
	return tabs
}

// A leader that crashes, hangs or is frozen is replaced, and nobody else misses anything.
func TestLeaderFails(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, host := range hosts {
		for _, way := range []string{"crashes", "frozen", "hangs"} {
			t.Run(host.name+" "+way, func(t *testing.T) {
				t.Parallel()
				server := rig.Start(t, "-token", token)
				box := newBox(t, server, passes)
				tabs := share(t, newChrome(t), box.url(t, host.name), 4)
				first, others := leader(t, tabs)
				feed := newFeed(t, server)
				feed.running(t, tabs)
				begin := time.Now()
				switch way {
				case "crashes":
					// The call is not answered by what has crashed.
					go chromedp.Call(first.ctx, page.Crash, cdp.Empty{})
				case "frozen":
					if _, err := chromedp.Call(first.ctx, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: page.SetWebLifecycleStateStateFrozen}); err != nil {
						t.Fatal(err)
					}
				case "hangs":
					go chromedp.Do(first.ctx, chromedp.Evaluate[chromedp.Void](`for (const end = Date.now() + 13000; Date.now() < end; );`))
				}
				rig.Wait(t, slow, "another leader", func() bool {
					// Where the machine is busy it may take the stream for held back, and poll.
					return slices.ContainsFunc(others, func(tb *tab) bool {
						return slices.Contains([]string{"stream", "poll"}, eval[string](tb, `String(socket.transport)`))
					})
				})
				t.Logf("another one led %v after the leader %s", time.Since(begin).Round(time.Millisecond), way)
				rest := 10 * time.Second
				if way == "hangs" {
					rest = 16 * time.Second // until it is over
				}
				rig.Wait(t, slow, "some time", func() bool { return time.Since(begin) > rest })
				if way == "frozen" {
					if _, err := chromedp.Call(first.ctx, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: page.SetWebLifecycleStateStateActive}); err != nil {
						t.Fatal(err)
					}
				}
				all := others
				if way != "crashes" {
					all = tabs // what it missed, it makes up for
				}
				feed.stop(t, all...)
				rig.Wait(t, slow, "one leader", func() bool {
					n := 0
					for _, tb := range all {
						if eval[string](tb, `String(socket.transport)`) == "stream" {
							n++
						}
					}
					open, _, _, _ := box.seen()
					return n == 1 && open == 1
				})
				rig.Wait(t, slow, fmt.Sprintf("%d users", len(all)), func() bool { return server.Count("lobby") == len(all) })
			})
		}
	}
}

// Followers stay counted for as long as they are there, and those who vanish without a word do not.
func TestFollowersAreRenewed(t *testing.T) {
	t.Parallel() // it mostly waits
	server := rig.Start(t, "-token", token, "-heartbeat", "2s")
	box := newBox(t, server, passes)
	chrome := newChrome(t)
	tabs := share(t, chrome, box.url(t, "localhost"), 4)
	_, others := leader(t, tabs)
	witness := newChrome(t).open(server.URL + "/test/lesson.html")
	witness.expect(slow, "5")
	witness.forget()
	go chromedp.Call(others[0].ctx, page.Crash, cdp.Empty{})
	begin := time.Now()
	const long = 75 * time.Second // a lease is 55 s
	want, left := 5, time.Duration(0)
	rig.Wait(t, long+slow, "75 seconds to pass", func() bool {
		waited := time.Since(begin)
		got := server.Count("lobby")
		if got == 4 && want == 5 {
			want, left = 4, waited
		}
		if got != want {
			t.Fatalf("/count says %d after %v, want %d", got, waited, want)
		}
		return waited > long
	})
	if left == 0 || left > 60*time.Second {
		t.Errorf("the tab that crashed left the count after %v (0: never), want 60 s at most", left)
	}
	if got := witness.lines(); !slices.Equal(got, []string{"4"}) {
		t.Errorf("the other browser saw %q, want 4 alone", got)
	}
}
