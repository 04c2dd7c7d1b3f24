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
	"headcount/test/rig/chromium"
)

// chrome is one running Chromium.
type chrome struct{ ctx context.Context }

func startChrome(t *testing.T) *chrome {
	t.Helper()
	return &chrome{chromium.Start(t, "ignore-certificate-errors")}
}

// rightWithin is how long a page may take to the right count, from its opening.
const rightWithin = 4 * time.Second

// onOpening starts the browser's client in a page that has no script of its own, as
// soon as the page begins. What it gets is timed in the page: the browser's own remote
// control is slow on a busy machine.
const onOpening = `
	if (location.pathname == '/healthz') {
		window.got = { counts: [], news: [] }
		import('/assets/io.mjs').then(({ io }) => {
			window.socket = io('/chrome')
			socket.on('user count', (count) => got.counts.push({ count, ms: performance.now() }))
			socket.on('news', (data) => got.news.push(data))
		})
	}`

// tab is what a page with the browser's client has got so far.
type tab struct {
	ctx context.Context

	Counts []struct {
		Count int
		MS    float64 // since the page was opened
	}
	News      []int
	Transport string
}

// open opens the page in a profile of its own, for a profile has one proxy.
func (c *chrome) open(t *testing.T, via *Running) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext(func(p *target.CreateBrowserContextParams) {
		if via.Via != nil {
			// "<-loopback>": Chromium takes no proxy for 127.0.0.1 unless told to.
			p.ProxyServer, p.ProxyBypassList = via.Via.Host, "<-loopback>"
		}
	}))
	t.Cleanup(cancel)
	ctx, cancelTime := context.WithTimeout(ctx, 40*time.Second)
	t.Cleanup(cancelTime)
	if _, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: onOpening}); err != nil {
		t.Fatalf("open tab: %v", err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(via.URL+"/healthz")); err != nil {
		t.Fatalf("open page: %v", err)
	}
	return &tab{ctx: ctx}
}

// until waits until the page has got what it should have, and says whether it has.
func (tb *tab) until(t *testing.T, deadline time.Duration, what string, ok func() bool) bool {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(20 * time.Millisecond) {
		text, err := chromedp.Run(tb.ctx, chromedp.Evaluate[string](`JSON.stringify({ ...got, transport: window.socket?.transport })`))
		if err == nil {
			tb.Counts, tb.News, tb.Transport = nil, nil, ""
			err = json.Unmarshal([]byte(text), tb)
		}
		if err != nil {
			t.Errorf("ask the page: %v", err)
			return false
		}
		if ok() {
			return true
		}
		if time.Now().After(end) {
			t.Errorf("%s: the page has counts %v, news %v, transport %q", what, tb.Counts, tb.News, tb.Transport)
			return false
		}
	}
}

// shows opens a page through the proxy, and expects the right count in time, each emit
// once, and that it is gone when it is closed. It returns the way that the client
// took, and when the count was there.
func (c *chrome) shows(t *testing.T, server *rig.Server, via *Running) (transport string, shown time.Duration) {
	t.Helper()
	other := read(t, &Running{URL: server.URL}, "chrome", "not-a-browser", false)
	other.Await(t, time.Second, "user count", "1")

	tb := c.open(t, via)
	if !tb.until(t, 3*rightWithin, "count 2", func() bool { return len(tb.Counts) > 0 && tb.Counts[len(tb.Counts)-1].Count == 2 }) {
		return "", 0
	}
	shown = time.Duration(tb.Counts[len(tb.Counts)-1].MS * float64(time.Millisecond))
	if shown > rightWithin {
		t.Errorf("right count after %v, want %v at most", shown, rightWithin)
	}
	if len(tb.Counts) > 1 {
		t.Errorf("the page got counts %v, want 2 from the first", tb.Counts)
	}
	want := "stream"
	if via.Streams != Live {
		want = "poll"
	}
	if tb.Transport != want {
		t.Errorf("the page takes %q, want %q", tb.Transport, want)
	}
	transport = tb.Transport
	for i := range 3 {
		emit(t, server, "chrome", "news", strconv.Itoa(i))
		tb.until(t, time.Second, "news within 1 s", func() bool { return slices.Contains(tb.News, i) })
	}
	if want := []int{0, 1, 2}; !slices.Equal(tb.News, want) {
		t.Errorf("the page got news %v, want %v", tb.News, want)
	}
	if got := server.Count("chrome"); got != 2 {
		t.Errorf("server counts %d with the page open, want 2", got)
	}
	if _, err := chromedp.Call(tb.ctx, page.Close, cdp.Empty{}); err != nil {
		t.Errorf("close page: %v", err)
	}
	other.Await(t, 3*time.Second, "user count", "1")
	other.leave()
	return transport, shown
}
