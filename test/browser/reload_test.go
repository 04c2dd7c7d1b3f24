package browser

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"headcount/test/rig"
)

// reloads are the ways to reload a page.
var reloads = map[string]func(*tab){
	"button": func(tb *tab) {
		if _, err := chromedp.Call(tb.ctx, page.Reload, page.ReloadParams{}); err != nil {
			tb.t.Fatal(err)
		}
	},
	"button, without the cache": func(tb *tab) {
		if _, err := chromedp.Call(tb.ctx, page.Reload, page.ReloadParams{IgnoreCache: new(true)}); err != nil {
			tb.t.Fatal(err)
		}
	},
	"script": func(tb *tab) {
		tb.do("reload", chromedp.Evaluate[chromedp.Void](`setTimeout(() => location.reload())`))
	},
}

// A tab that reloads stays the same user. Neither the server nor the other tabs see it leave.
func TestReload(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, reload := range reloads {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d tabs", name, n), func(t *testing.T) {
				server := rig.Start(t)
				witness := newWitness(t, server)
				chrome := newChrome(t)
				var tabs []*tab
				for i := range n {
					tb := chrome.open(server.URL + "/test/client.html")
					eval[bool](tb, follow)
					tb.logs(slow, fmt.Sprintf("user count %d", i+2))
					tabs = append(tabs, tb)
				}
				all := fmt.Sprintf("user count %d", n+1)
				for _, tb := range tabs {
					tb.logs(slow, all)
					tb.forget()
				}
				for i, tb := range tabs { // the leader is among them
					id := eval[string](tb, `socket.id`)
					eval[bool](tb, `window.before = true`)
					reload(tb)
					rig.Wait(t, slow, "the page again", func() bool { return eval[bool](tb, `!window.before && !!window.io`) })
					eval[bool](tb, follow)
					rig.Wait(t, slow, "the connection again", func() bool { return eval[bool](tb, `socket.connected`) })
					if got := eval[string](tb, `socket.id`); got != id {
						t.Errorf("tab %d is %s after the reload, want %s as before", i, got, id)
					}
				}
				witness.saw(t, n+1)
				for i, tb := range tabs {
					for _, line := range tb.only("user count") {
						if line != all {
							t.Errorf("tab %d saw %q, want %q alone", i, line, all)
						}
					}
				}
				// Those who really go are gone.
				tabs[0].close()
				witness.AwaitCount(t, gone, n)
			})
		}
	}
}

// The same holds with 200 ms for each round trip.
func TestReloadFarAway(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " tabs"), func(t *testing.T) {
			server := rig.Start(t)
			witness := newWitness(t, server)
			url, chrome := farFrom(t, server.Addr, 100*time.Millisecond), newChrome(t)
			var tabs []*tab
			for i := range n {
				tabs = append(tabs, chrome.open(url+"/test/lesson.html"))
				tabs[i].expect(slow, fmt.Sprint(i+2))
			}
			for _, tb := range tabs {
				for _, reload := range reloads {
					tb.forget()
					reload(tb)
					tb.expect(slow, fmt.Sprint(n+1))
				}
			}
			witness.saw(t, n+1)
		})
	}
}

// The same holds in Firefox and WebKit, near and with 200 ms for each round trip.
func TestReloadInOtherBrowsers(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, start := range map[string]func(*testing.T, *box, string) (*remote, string){"Firefox": newFirefox, "WebKit": newWebKit} {
		for _, delay := range []time.Duration{0, 100 * time.Millisecond} {
			t.Run(fmt.Sprint(name, ", ", 2*delay), func(t *testing.T) { reloadInOtherBrowser(t, start, delay) })
		}
	}
}

func reloadInOtherBrowser(t *testing.T, start func(*testing.T, *box, string) (*remote, string), delay time.Duration) {
	server := rig.Start(t)
	witness := newWitness(t, server)
	b := newBox(t, server, passes)
	r, url := start(t, b, "localhost")
	if delay > 0 {
		url = farFrom(t, b.Listener.Addr().String(), delay)
	}
	var tabs []string
	for _, n := range []int{1, 3} {
		for len(tabs) < n {
			tabs = append(tabs, r.open(url+"/page/client.html"))
			r.hears(tabs[len(tabs)-1], slow, fmt.Sprintf("user count %d", len(tabs)+1))
		}
		for _, tab := range tabs {
			r.to(tab)
			r.call("WebDriver:Refresh", map[string]any{}, nil)
			r.listen()
			r.hears(tab, slow, fmt.Sprintf("user count %d", n+1))
		}
		witness.saw(t, n+1)
	}
	r.to(tabs[2])
	r.call("WebDriver:CloseWindow", map[string]any{}, nil)
	witness.AwaitCount(t, gone, 3)
	r.to(tabs[1])
	r.eval(nil, `window.socket.disconnect()`)
	witness.AwaitCount(t, soon, 2)
}

// witness is a user without a page who sees every count that the server sends.
type witness struct{ *rig.Subscriber }

func newWitness(t *testing.T, server *rig.Server) witness {
	t.Helper()
	w := witness{rig.Subscribe(t, server.URL, "lobby")}
	w.AwaitCount(t, slow, 1)
	return w
}

// saw waits for longer than the grace period of a goodbye. Then it checks that the count has risen one by one to n and
// has never fallen.
func (w witness) saw(t *testing.T, n int) {
	t.Helper()
	begin := time.Now()
	rig.Wait(t, slow, "4 seconds to pass", func() bool { return time.Since(begin) > 4*time.Second })
	var got, want []string
	for _, event := range w.Got("user count") {
		got = append(got, event.Data)
	}
	for i := range n {
		want = append(want, fmt.Sprint(i+1))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the server published the counts %q, want %q", got, want)
	}
}

// farFrom returns a URL of the server at addr that has this delay in each direction.
func farFrom(t *testing.T, addr string, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", addr)
			if err != nil {
				near.Close()
				continue
			}
			go carry(far, near, delay)
			go carry(near, far, delay)
		}
	}()
	return "http://" + l.Addr().String()
}

// carry copies bytes with a delay. It closes both ends when one has ended.
func carry(to, from net.Conn, delay time.Duration) {
	type piece struct {
		bytes []byte
		due   <-chan time.Time
	}
	line := make(chan piece, 1024)
	go func() {
		defer to.Close()
		defer from.Close()
		for p := range line {
			<-p.due
			if _, err := to.Write(p.bytes); err != nil {
				return
			}
		}
	}()
	defer close(line)
	for {
		b := make([]byte, 16<<10)
		n, err := from.Read(b)
		line <- piece{b[:n], time.After(delay)}
		if err != nil {
			return
		}
	}
}

// A cancelled reload leaves nothing behind. If the tab is closed later, its user is gone.
func TestReloadCancelled(t *testing.T) {
	server := rig.Start(t)
	f := front(t, server, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/away" {
			return false
		}
		w.WriteHeader(http.StatusNoContent)
		return true
	})
	tb := newChrome(t).open(f.URL + "/test/lesson.html")
	tb.expect(slow, "1")
	eval[bool](tb, `
		navigation.addEventListener('navigate', (event) => event.navigationType == 'reload' && event.intercept(), { once: true })
		navigation.reload().finished.then(() => { location.href = '/away' }).then(() => true)`)
	tb.close()
	rig.Wait(t, gone, "nobody", func() bool { return server.Count("lobby") == 0 })
}
