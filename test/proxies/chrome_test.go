package proxies

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"headcount/test/rig"
)

// chrome is one running Chromium.
type chrome struct{ ctx context.Context }

// startChrome starts Chromium as users have it: chromedp's own flags would switch off
// what we are to live with.
func startChrome(t *testing.T) *chrome {
	t.Helper()
	bin := need(t, "chromium")
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(bin), chromedp.UserDataDir(t.TempDir())}
	for _, flag := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
		"disable-component-update", "disable-sync", "ignore-certificate-errors",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	t.Cleanup(cancelBrowser)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start %s: %v", bin, err)
	}
	return &chrome{ctx}
}

// rightWithin is how long the page may take to the right count, from its opening.
const rightWithin = 4 * time.Second

// shows opens a page with the browser's client through the proxy, and expects the right
// count in time, an emit once, and that it is gone when it is closed. It returns
// the way that the client took, and when the count was there.
func (c *chrome) shows(t *testing.T, server *rig.Server, via *Running) (transport string, shown time.Duration) {
	t.Helper()
	// A profile of its own for each, as for a proxy there is one for each.
	ctx, cancel := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext(func(p *target.CreateBrowserContextParams) {
		if via.Via != nil {
			// "<-loopback>": Chromium takes no proxy for 127.0.0.1 unless told to.
			p.ProxyServer, p.ProxyBypassList = via.Via.Host, "<-loopback>"
		}
	}))
	defer cancel()
	ctx, cancelTime := context.WithTimeout(ctx, 40*time.Second)
	defer cancelTime()
	const room = "chrome"
	other := read(t, &Running{URL: server.URL}, room, "not-a-browser", false)
	other.expect(time.Second, "user count", "1")

	// A page without scripts or policy: everything here is the client's.
	began := time.Now()
	if err := chromedp.Do(ctx, chromedp.Navigate(via.URL+"/healthz")); err != nil {
		t.Errorf("open page: %v", err)
		return "", 0
	}
	if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](`
		window.counts = []
		window.news = []
		import('/assets/io.mjs').then(({ io }) => {
			window.socket = io('/`+room+`')
			socket.on('user count', (count) => counts.push(count))
			socket.on('news', (data) => news.push(data))
		})`)); err != nil {
		t.Errorf("start the client: %v", err)
		return "", 0
	}
	type state struct {
		Counts    []int
		News      []int
		Transport string
	}
	var now state
	until := func(deadline time.Time, what string, ok func() bool) bool {
		t.Helper()
		for {
			text, err := chromedp.Run(ctx, chromedp.Evaluate[string](
				`JSON.stringify({ counts, news, transport: window.socket?.transport })`))
			now = state{}
			if err == nil {
				err = json.Unmarshal([]byte(text), &now)
			}
			if err != nil {
				t.Errorf("ask the page: %v", err)
				return false
			}
			if ok() {
				return true
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: the page has %+v", what, now)
				return false
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	ok := until(began.Add(rightWithin), "count 2 within 4 s", func() bool {
		return len(now.Counts) > 0 && now.Counts[len(now.Counts)-1] == 2
	})
	shown = time.Since(began)
	if ok {
		transport = now.Transport
		want := "stream"
		if via.Streams != Live {
			want = "poll"
		}
		if transport != want {
			t.Errorf("the page takes %q, want %q", transport, want)
		}
		for i := range 3 {
			emit(t, server, room, "news", strconv.Itoa(i))
			until(time.Now().Add(time.Second), "news within 1 s", func() bool { return slices.Contains(now.News, i) })
		}
		if want := []int{0, 1, 2}; !slices.Equal(now.News, want) {
			t.Errorf("the page got news %v, want %v", now.News, want)
		}
		if got := server.Count(room); got != 2 {
			t.Errorf("server counts %d with the page open, want 2", got)
		}
	}
	if _, err := chromedp.Call(ctx, page.Close, cdp.Empty{}); err != nil {
		t.Errorf("close page: %v", err)
	}
	if ok {
		other.expect(3*time.Second, "user count", "1")
	}
	other.leave()
	return transport, shown
}
