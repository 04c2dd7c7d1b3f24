package browser

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"headcount/test/rig"
)

// startWithAdmin starts a server whose operator's page is at the address returned.
func startWithAdmin(t *testing.T, args ...string) (server *rig.Server, admin string) {
	t.Helper()
	addr := rig.FreeAddr(t)
	return rig.Start(t, append([]string{"-admin", addr}, args...)...), "http://" + addr
}

// join opens n streams in a room, until the test ends.
func join(t *testing.T, server *rig.Server, room string, n int) {
	t.Helper()
	for range n {
		stream, err := http.Get(server.URL + "/events?room=" + url.QueryEscape(room))
		if err != nil {
			t.Fatalf("join %q: %v", room, err)
		}
		t.Cleanup(func() { stream.Body.Close() })
	}
}

// cells is what a table of the operator's page shows: names and numbers, one row a line.
func (tb *tab) cells(heading string) string {
	tb.t.Helper()
	return eval[string](tb, `[...document.querySelectorAll('table[aria-labelledby=`+heading+`]:not([hidden]) tr')]
		.map((row) => row.querySelector('bdi').textContent + ' ' + row.querySelector('.count').textContent).join('\n')`)
}

func (tb *tab) showsCells(heading, want string) {
	tb.t.Helper()
	defer func() {
		if tb.t.Failed() {
			tb.t.Logf("#%s shows:\n%s", heading, tb.cells(heading))
		}
	}()
	rig.Wait(tb.t, slow, fmt.Sprintf("%q under #%s", want, heading), func() bool { return tb.cells(heading) == want })
}

// The operator's page moves by itself: users, rooms, transports, drops by reason. Whoever looks at it is no user.
func TestStatsPage(t *testing.T) {
	server, admin := startWithAdmin(t, "-token", token)
	chrome := newChrome(t)
	operator := chrome.open(admin + "/") // which leads to /stats
	operator.shows(slow, "way", "Live")
	operator.shows(slow, "users", "0")
	operator.shows(slow, "ready", "Ready for streams")
	operator.showsCells("byRoom", "")

	tb := chrome.open(server.URL + "/")
	operator.shows(slow, "users", "1")
	operator.shows(slow, "noun", "user")
	operator.shows(slow, "places", "in 1 room")
	operator.shows(slow, "streams", "1")
	operator.showsCells("byRoom", "lobby 1")

	// Names come from strangers.
	const hostile = `<img src=x onerror="console.error(1)"> & '</td>`
	join(t, server, hostile, 2)
	operator.showsCells("byRoom", hostile+" 2\nlobby 1")
	operator.shows(slow, "places", "in 2 rooms")
	emit(t, server, "lobby", "news", `"hi"`)
	operator.shows(slow, "emitted", "1")
	operator.shows(slow, "emits", "event")
	operator.shows(slow, "kept", "1")

	// A refused request, and another, show up by reason.
	refuse := func(path string) {
		t.Helper()
		if answer, err := http.Get(server.URL + path); err != nil || answer.StatusCode < 400 {
			t.Fatalf("get %s: %v %v", path, answer, err)
		}
	}
	refuse("/nothing")
	operator.showsCells("refused", "no_such_route 1")
	refuse("/events?room=")
	refuse("/events?room=")
	operator.showsCells("refused", "bad_request 2\nno_such_route 1")
	tb.close()
	operator.showsCells("byRoom", hostile+" 2")
	subscribe(t, server, 2)()
	// The closed tab is ended or gone: its goodbye and the end of its connection race.
	rig.Wait(t, slow, "three streams that ended", func() bool {
		return slices.Contains([]string{
			"the client left 3\npolls answered 0\nended by this server 0\nthe client stalled 0",
			"the client left 2\nended by this server 1\npolls answered 0\nthe client stalled 0",
		}, operator.cells("ended"))
	})

	operator.isAsTheServerDrawsIt()

	// A room has a page too, which the list of rooms leads to.
	operator.do("follow the link of a room", chromedp.Click("table[aria-labelledby=byRoom] a"))
	operator.shows(slow, "way", "Live")
	if got := eval[string](operator, `document.querySelector('h1').innerText.replace(/\s+/g, ' ') + '|' + document.getElementById('room').value`); got != "2 users in "+hostile+" now|"+hostile {
		t.Errorf("the page of a room: got %q", got)
	}
	emit(t, server, hostile, "news", `"hi"`)
	operator.shows(slow, "kept", "1")
	join(t, server, hostile, 1)
	operator.shows(slow, "users", "3")
	operator.shows(slow, "streams", "3")
	operator.isAsTheServerDrawsIt()
	operator.faultless()
}

// isAsTheServerDrawsIt waits until the page that the server sends now is what the script has made of this one.
func (tb *tab) isAsTheServerDrawsIt() {
	tb.t.Helper()
	var drawn []string
	defer func() {
		if tb.t.Failed() {
			tb.t.Logf("of the server and of the script:\n%s", strings.Join(drawn, "\n"))
		}
	}()
	rig.Wait(tb.t, slow, "the same from server and script", func() bool {
		drawn = eval[[]string](tb, `(async () => {
			const page = new DOMParser().parseFromString(await (await fetch(location, { headers: { Accept: 'text/html' } })).text(), 'text/html')
			const words = (doc) => [...doc.querySelectorAll('main [id], main .rest, main th bdi, main .count')].map((e) => e.hidden + e.textContent.replace(/\s+/g, ' ')).join(' | ')
			const paths = (doc) => [...doc.querySelectorAll('#chart path, .bar rect, th a')].map((e) => e.getAttribute('d') ?? e.getAttribute('width') ?? e.getAttribute('href')).join(' ')
			return [words(page) + paths(page), words(document) + paths(document)]
		})()`)
		return drawn[0] == drawn[1]
	})
}

// The page says when the server is gone, and since when, and comes back when the server is back.
func TestStatsPageComesBack(t *testing.T) {
	server, admin := startWithAdmin(t)
	join(t, server, "lobby", 1)
	tb := newChrome(t).open(admin + "/stats")
	tb.shows(slow, "way", "Live")
	tb.shows(slow, "said", "Live.")
	tb.shows(slow, "users", "1")
	tb.shows(slow, "when", "now")
	server.Kill()
	rig.Wait(t, slow, "not live", func() bool { return strings.HasPrefix(tb.text("way"), "Not live since ") })
	tb.shows(slow, "said", "Not live.")
	tb.shows(slow, "when", "when last heard")
	tb.shows(slow, "ready", "Not known while this page is not live")
	server.Restart()
	tb.shows(slow, "ready", "Ready for streams")
	tb.shows(slow, "way", "Live")
	tb.shows(slow, "users", "0") // http.Get comes back by nobody's hand
	// Stopped in order, it is seen to stop, and an open page does not delay it.
	if took := server.Stop(); took > 5*time.Second {
		t.Errorf("the server took %v to stop", took)
	}
	rig.Wait(t, slow, "not live", func() bool { return strings.HasPrefix(tb.text("way"), "Not live since ") })
	tb.faultless("net::ERR_")
}

func TestStatsPageWithoutJavaScript(t *testing.T) {
	server, admin := startWithAdmin(t)
	join(t, server, "<b>news", 3)
	tb := newChrome(t).attach()
	if _, err := chromedp.Call(tb.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatalf("switch JavaScript off: %v", err)
	}
	tb.goTo(admin + "/stats")
	for id, want := range map[string]string{"users": "3", "streams": "3", "places": "in 1 room"} {
		if got := tb.text(id); got != want {
			t.Errorf("#%s: got %q, want %q", id, got, want)
		}
	}
	if got := tb.cells("byRoom"); got != "<b>news 3" {
		t.Errorf("rooms: got %q", got)
	}
	if got := tb.text("way"); !strings.HasPrefix(got, "JavaScript is off. Reload to count again.") {
		t.Errorf("the page says %q, want that JavaScript is off", got)
	}
	tb.faultless()
}

// A page of another site gets nothing from the admin listener of its visitor's machine.
func TestStatsAreNotForOtherSites(t *testing.T) {
	server, admin := startWithAdmin(t)
	chrome := newChrome(t)
	icon := eval[string](chrome.open(admin+"/stats"), `document.querySelector('link[rel=icon]').getAttribute('href')`)
	tb := chrome.open(server.URL + "/count") // which has no policy of its own
	load := func(address string) string {
		t.Helper()
		return eval[string](tb, `new Promise((resolve) => {
			const image = new Image()
			image.onload = () => resolve('drawn')
			image.onerror = () => resolve('refused')
			image.src = '`+address+`'
		})`)
	}
	if got := load(server.URL + "/badge.svg"); got != "drawn" {
		t.Fatalf("an image for everybody: got %s", got)
	}
	for _, address := range []string{admin + icon, strings.Replace(admin, "127.0.0.1", "localhost", 1) + icon} {
		if got := load(address); got != "refused" {
			t.Errorf("%s: got %s, want refused", address, got)
		}
	}
}

// The operator's page as TestPictures looks at the other one, and axe.
func TestStatsPictures(t *testing.T) {
	axe := axeSource(t)
	server, admin := startWithAdmin(t, "-token", token)
	for room, n := range map[string]int{
		"lobby": 14, "news": 9, "support": 6, "machine": 4, "ü & <b>": 3, "team-a": 2, "team-b": 2, strings.Repeat("long ", 25): 1,
		"a": 1, "b": 1, "c": 1, "d": 1,
	} {
		join(t, server, room, n)
	}
	for i := range 9 {
		emit(t, server, "news", "news", fmt.Sprint(i))
		for _, path := range []string{"/nothing", "/events?room=", "/doctor/none"}[:1+i%3] {
			if _, err := http.Get(server.URL + path); err != nil {
				t.Fatal(err)
			}
		}
	}
	subscribe(t, server, 5)()
	pages := []struct{ name, url, users string }{
		{"stats", admin + "/stats", "45"},
		{"room", admin + "/stats?room=news", "9"},
		{"docs", server.URL + "/docs/browser.md", ""},
	}
	t.Run("live", func(t *testing.T) {
		for _, s := range screens() {
			t.Run(s.String(), func(t *testing.T) {
				t.Parallel()
				chrome := newChrome(t)
				for _, p := range pages {
					tb := chrome.on(t, s, p.url)
					if p.users != "" {
						tb.shows(slow, "way", "Live")
						tb.shows(slow, "users", p.users)
					}
					tb.fits(s, p.name)
					if got := axeFinds(tb, axe); got != "" {
						t.Errorf("axe, %s: %s", p.name, got)
					}
					tb.faultless()
					tb.close()
				}
			})
		}
	})
	tb := newChrome(t).open(admin + "/stats")
	tb.shows(slow, "way", "Live")
	server.Kill()
	rig.Wait(t, slow, "not live", func() bool { return strings.HasPrefix(tb.text("way"), "Not live") })
	if got := axeFinds(tb, axe); got != "" {
		t.Errorf("axe while not live: %s", got)
	}
}

// fits takes a picture of the whole page. Its paper must have the brightness of the scheme, and nothing may stick out.
func (tb *tab) fits(s screen, name string) {
	t := tb.t
	t.Helper()
	whole := true
	shot, err := chromedp.Call(tb.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &whole})
	if err != nil {
		t.Fatalf("take picture: %v", err)
	}
	if *pictures != "" {
		if err := os.WriteFile(filepath.Join(*pictures, name+"-"+s.String()+".png"), shot.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	picture, err := png.Decode(bytes.NewReader(shot.Data))
	if err != nil {
		t.Fatalf("decode picture: %v", err)
	}
	paper := brightness(picture.At(2, 2))
	if dark := paper < 0.2; dark != (s.scheme == "dark") || !dark && paper < 0.8 {
		t.Errorf("the paper's brightness of %s is %.2f", name, paper)
	}
	if out := eval[int](tb, `document.documentElement.scrollWidth - innerWidth`); out > 0 {
		t.Errorf("%s is %d pixels too wide", name, out)
	}
}
