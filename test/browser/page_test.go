package browser

import (
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"headcount/test/rig"
)

func (tb *tab) text(id string) string {
	tb.t.Helper()
	return eval[string](tb, `document.getElementById('`+id+`')?.textContent ?? ''`)
}

func (tb *tab) shows(deadline time.Duration, id, want string) {
	tb.t.Helper()
	rig.Wait(tb.t, deadline, fmt.Sprintf("%q in #%s", want, id), func() bool { return tb.text(id) == want })
}

// subscribe opens n streams as curl would, until the test ends or the returned function is called.
func subscribe(t *testing.T, server *rig.Server, n int) (leave func()) {
	t.Helper()
	var streams []*http.Response
	leave = func() {
		for _, stream := range streams {
			stream.Body.Close()
		}
		streams = nil
	}
	t.Cleanup(leave)
	for range n {
		stream, err := http.Get(server.URL + "/events")
		if err != nil {
			t.Fatalf("subscribe: %v", err)
		}
		streams = append(streams, stream)
	}
	return leave
}

func TestPageWithoutJavaScript(t *testing.T) {
	server := rig.Start(t)
	subscribe(t, server, 3)
	rig.Wait(t, slow, "3 users", func() bool { return server.Count("lobby") == 3 })
	tb := newChrome(t).attach()
	if _, err := chromedp.Call(tb.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatalf("switch JavaScript off: %v", err)
	}
	tb.goTo(server.URL + "/")
	if got := tb.text("users"); got != "3" {
		t.Errorf("the page says %s, want 3", got)
	}
	if got := tb.text("peak"); got != "3" {
		t.Errorf("the peak is %s, want 3", got)
	}
	if got, want := tb.text("way"), "JavaScript is off. Reload to count again."; got != want {
		t.Errorf("the page says %q, want %q", got, want)
	}
	if got := eval[string](tb, `document.title`); got != "(3) lobby · headcount" {
		t.Errorf("the title is %q", got)
	}
	tb.faultless()
}

func TestPage(t *testing.T) {
	server := rig.Start(t)
	chrome := newChrome(t)
	tb := chrome.open(server.URL + "/")
	title := func(want string) {
		t.Helper()
		rig.Wait(t, slow, "the title "+want, func() bool { return eval[string](tb, `document.title`) == want })
	}

	tb.shows(slow, "users", "1")
	tb.shows(slow, "noun", "user")
	tb.shows(slow, "way", "Live over a stream")
	title("(1) lobby · headcount")

	leave := subscribe(t, server, 4)
	tb.shows(slow, "users", "5")
	tb.shows(slow, "noun", "users")
	title("(5) lobby · headcount")
	leave()
	tb.shows(slow, "users", "1")
	tb.shows(slow, "peak", "5")

	// What the server draws for a new tab is what this tab has drawn meanwhile.
	var drawn []string
	defer func() {
		if t.Failed() {
			t.Logf("lines of the server and of the script:\n%s", strings.Join(drawn, "\n"))
		}
	}()
	rig.Wait(t, slow, "the same line from server and script", func() bool {
		drawn = eval[[]string](tb, `(async () => {
			const page = new DOMParser().parseFromString(await (await fetch('/')).text(), 'text/html')
			const parts = (doc) => [...doc.querySelectorAll('#chart path')].map((path) => path.getAttribute('d')).join(' ') + doc.querySelector('figcaption').textContent
			return [parts(page), parts(document)]
		})()`)
		return drawn[0] == drawn[1] && strings.Contains(drawn[0], "V")
	})

	tb.do("open another tab", chromedp.Click(chromedp.ID("more")))
	tb.shows(slow, "users", "2")

	// Not live is unmistakable: what was heard last, and when, in red, and the number dimmed.
	server.Kill()
	lost := regexp.MustCompile(`^Not live\. Reconnecting … 2 users when last heard, [1-9][0-9]* s ago$`)
	rig.Wait(t, slow, "the page to say what it heard last", func() bool { return lost.MatchString(tb.text("way")) })
	dimmed := func() bool {
		return eval[bool](tb, `getComputedStyle(document.getElementById('users')).color !== getComputedStyle(document.body).color &&
			getComputedStyle(document.getElementById('chart')).opacity < 0.5`)
	}
	if !dimmed() {
		t.Error("the number and the chart of a page that is not live are as bright as ever")
	}
	server.Restart()
	tb.shows(slow, "way", "Live over a stream")
	tb.shows(slow, "users", "2")
	rig.Wait(t, slow, "a number as bright as before", func() bool { return !dimmed() })
	// The server forgot its points when it died. The page has not forgotten its own.
	tb.shows(slow, "peak", "5")
	tb.faultless("net::ERR_")
}

// A server that restarts within a step of the chart does not have the older values of that step. The page keeps the
// peak of the step anyway.
func TestChartKeepsPeak(t *testing.T) {
	server := rig.Start(t)
	tb := newChrome(t).open(server.URL + "/")
	tb.shows(slow, "users", "1")
	if got := eval[string](tb, `
		chart.note(9)
		chart.load([[1, 1]], 0, performance.now(), true)
		document.getElementById('peak').textContent`); got != "9" {
		t.Errorf("the peak is %s after a restart, want 9", got)
	}
	tb.faultless()
}

// The values of the chart can be read with the pointer and with the keyboard.
func TestChartReading(t *testing.T) {
	server := rig.Start(t)
	subscribe(t, server, 1233)
	tb := newChrome(t).open(server.URL + "/")
	tb.shows(slow, "users", "1,234")
	tb.shows(slow, "top", "1,600")
	tb.shows(slow, "half", "800")
	tb.shows(slow, "reading", "")
	reads := func(want string) {
		t.Helper()
		rig.Wait(t, slow, "reading "+want, func() bool { return regexp.MustCompile(want).MatchString(tb.text("reading")) })
	}
	eval[bool](tb, `document.getElementById('more').focus(); true`)
	for range 3 { // the room's field, its button, the chart
		tb.do("press Tab", chromedp.KeyEvent(kb.Tab))
	}
	reads(`^1,234 users now$`)
	rig.Wait(t, slow, "a second step", func() bool { return tb.text("span") != "5 seconds" })
	tb.do("press Left", chromedp.KeyEvent(kb.ArrowLeft))
	reads(`^1,234 users 5 s ago, at \d\d:\d\d:\d\d$`)
	if got := eval[string](tb, `document.activeElement.getAttribute('aria-valuetext')`); got != tb.text("reading") {
		t.Errorf("a screen reader hears %q, and the page shows %q", got, tb.text("reading"))
	}
	tb.do("press Escape", chromedp.KeyEvent(kb.Escape))
	reads(`^$`)
	point := eval[[]float64](tb, `(() => { const b = document.getElementById('chart').getBoundingClientRect(); return [b.right - 2, b.top + 20] })()`)
	tb.do("point at now", chromedp.MouseEvent(chromedp.MouseMoved, point[0], point[1]))
	reads(`^1,234 users now$`)
	tb.faultless()
}

// A wrong link shows a page in a browser, and JSON to a program.
func TestErrorPages(t *testing.T) {
	server := rig.Start(t, "-private", "team-*", "-key", strings.Repeat("k", 32), "-token", "secret")
	tb := newChrome(t).attach()
	for _, test := range []struct{ path, title, sentence string }{
		{"/nope", "Not Found", "There is nothing here"},
		{"/a/b/nope", "Not Found", "There is nothing here"},
		{"/?room=", "Bad Request", "Room"},
		{"/?room=team-a", "Unauthorized", "token"},
	} {
		tb.goTo(server.URL + test.path)
		if got := eval[string](tb, `document.querySelector('h1').textContent`); got != test.title {
			t.Errorf("%s: the page is about %q, want %q", test.path, got, test.title)
		}
		if got := eval[string](tb, `document.querySelector('main p').textContent`); !strings.Contains(got, test.sentence) {
			t.Errorf("%s: the page says %q, want %q", test.path, got, test.sentence)
		}
		if got := eval[string](tb, `getComputedStyle(document.body).display`); got != "flex" {
			t.Errorf("%s: the page has no style", test.path)
		}
		if got := eval[string](tb, `document.querySelector('.button').href`); got != server.URL+"/" {
			t.Errorf("%s: the button leads to %s", test.path, got)
		}
		answer, err := http.Get(server.URL + test.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := answer.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: a program gets %s", test.path, got)
		}
		answer.Body.Close()
	}
	// What the last one advises works, also for the tab that its page opens.
	tb.goTo(server.URL + "/?room=team-a&token=secret")
	tb.shows(slow, "way", "Live over a stream")
	tb.shows(slow, "users", "1")
	if got, want := eval[string](tb, `document.getElementById('more').href`), server.URL+"/?room=team-a&token=secret"; got != want {
		t.Errorf("another tab opens %s, want %s", got, want)
	}
	tb.faultless("status of 4")
}

func TestPageOfRoom(t *testing.T) {
	server := rig.Start(t)
	const room = `<b> & 'ü'`
	tb := newChrome(t).attach()
	tb.goTo(server.URL + "/?room=%3Cb%3E+%26+%27%C3%BC%27")
	tb.shows(slow, "users", "1")
	tb.shows(slow, "way", "Live over a stream")
	if got := eval[string](tb, `document.querySelector('h1 bdi').textContent`); got != room {
		t.Errorf("the page shows the room as %q, want %q", got, room)
	}
	if got := server.Count("lobby"); got != 0 {
		t.Errorf("the lobby has %d users, want 0", got)
	}
	// What the page tells people to paste leads to the same room.
	if got := eval[int](tb, `(async () => {
		const argument = /io\((\{.*\})\)/.exec(document.getElementById('code').textContent)[1]
		const socket = io(eval('(' + argument + ')'))
		return new Promise((resolve) => socket.on('user count', resolve))
	})()`); got != 1 {
		t.Errorf("the code of the page leads to a room with %d users, want 1", got)
	}
	line := strings.Fields(tb.text("curl"))
	if got := eval[int](tb, `fetch('/count?' + `+strings.ReplaceAll(line[len(line)-1], "'", "`")+`.split('?')[1]).then((r) => r.json()).then((c) => c.users)`); got != 1 {
		t.Errorf("the curl line leads to a room with %d users, want 1", got)
	}
	tb.faultless()
}

func TestPageCopies(t *testing.T) {
	server := rig.Start(t)
	tb := newChrome(t).attach()
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		if _, err := chromedp.CallBrowser(tb.ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted,
			BrowserContextID: chromedp.FromContext(tb.ctx).BrowserContextID,
		}); err != nil {
			t.Fatalf("grant %s: %v", name, err)
		}
	}
	tb.goTo(server.URL + "/")
	tb.shows(slow, "way", "Live over a stream")

	// By keyboard: everything there is to press is reached, in the order of the page.
	var order []string
	for range 9 {
		tb.do("press Tab", chromedp.KeyEvent(kb.Tab))
		order = append(order, eval[string](tb, `document.activeElement.dataset.copy || document.activeElement.id || document.activeElement.textContent`))
	}
	if got, want := strings.Join(order, " "), "headcount more room enter plot every code curl emit"; got != want {
		t.Errorf("Tab goes to %s, want %s", got, want)
	}
	eval[bool](tb, `document.querySelector('[data-copy=curl]').focus(); true`)
	tb.do("press Enter", chromedp.KeyEvent(kb.Enter))
	rig.Wait(t, slow, "Copied", func() bool {
		return eval[string](tb, `document.querySelector('[data-copy=curl]').textContent`) == "Copied"
	})
	if got, want := eval[string](tb, `navigator.clipboard.readText()`), "curl -N '"+server.URL+"/events'"; got != want {
		t.Errorf("copied %q, want %q", got, want)
	}

	// Where the browser gives no clipboard, which is so on plain http.
	eval[bool](tb, `Object.defineProperty(navigator, 'clipboard', { value: undefined }); document.querySelector('[data-copy=code]').focus(); true`)
	tb.do("press Enter", chromedp.KeyEvent(kb.Enter))
	rig.Wait(t, slow, "Copied", func() bool {
		return eval[string](tb, `document.querySelector('[data-copy=code]').textContent`) == "Copied"
	})
	tb.faultless()
}

// A page that has never been live says so, and why, as one that has lost its connection does.
func TestPageThatIsRefused(t *testing.T) {
	t.Parallel() // it mostly waits
	server := rig.Start(t, "-max-streams", "1")
	leave := subscribe(t, server, 1)
	tb := newChrome(t).attach()
	tb.goTo(server.URL + "/")
	full := regexp.MustCompile(`^This server is full; try again in a few seconds\. 1 user when last heard, [0-9]+ s ago$`)
	rig.Wait(t, slow, "the page to say that the server is full", func() bool { return full.MatchString(tb.text("way")) })
	tb.shows(slow, "when", "when last heard")
	if got := eval[string](tb, `document.title + ' ' + document.body.dataset.live`); got != "Not live · lobby · headcount no" {
		t.Errorf("title and state are %q", got)
	}
	tb.shows(slow, "said", "Not live. 1 user when last heard.")
	leave()
	tb.shows(slow, "when", "now")
	tb.shows(slow, "users", "1")
	rig.Wait(t, slow, "the title of a live page", func() bool { return eval[string](tb, `document.title`) == "(1) lobby · headcount" })
}

// Screen readers announce the number at most every 10 s, and the last number in the end.
func TestPageSpeaksSeldom(t *testing.T) {
	t.Parallel() // it mostly waits
	server := rig.Start(t)
	tb := newChrome(t).attach()
	tb.goTo(server.URL + "/")
	tb.shows(slow, "said", "1 user now.")
	eval[bool](tb, `
		window.said = []
		new MutationObserver(() => said.push(performance.now())).observe(document.getElementById('said'), { childList: true })
		document.getElementById('users').closest('[aria-live], [role=status]') === null`)
	begin := time.Now()
	for range 5 {
		leave := subscribe(t, server, 2)
		tb.shows(slow, "users", "3")
		leave()
		tb.shows(slow, "users", "1")
	}
	subscribe(t, server, 6)
	tb.shows(slow, "users", "7")
	if time.Since(begin) < 8*time.Second && eval[int](tb, `said.length`) > 0 {
		t.Error("spoke again within 8 s")
	}
	tb.shows(slow, "said", "7 users now.")
	if n := eval[int](tb, `said.length`); n != 1 {
		t.Errorf("spoke %d times, want once", n)
	}
}

func TestPageMovesOnlyIfWanted(t *testing.T) {
	server := rig.Start(t)
	chrome := newChrome(t)
	for motion, want := range map[string]bool{"reduce": false, "no-preference": true} {
		tb := chrome.attach()
		if _, err := chromedp.Call(tb.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: motion}},
		}); err != nil {
			t.Fatal(err)
		}
		tb.goTo(server.URL + "/")
		tb.shows(slow, "users", "1")
		eval[bool](tb, `
			window.moved = false
			const animate = Element.prototype.animate
			Element.prototype.animate = function (...args) { window.moved = true; return animate.apply(this, args) }
			true`)
		leave := subscribe(t, server, 1)
		tb.shows(slow, "users", "2")
		if got := eval[bool](tb, `window.moved`); got != want {
			t.Errorf("with %s: moved is %v, want %v", motion, got, want)
		}
		leave()
		tb.close()
		rig.Wait(t, slow, "nobody", func() bool { return server.Count("lobby") == 0 })
	}
}

// The page shows its transport, lets the user try the other one, and shows the events of the room.
func TestPageWays(t *testing.T) {
	server := rig.Start(t, "-token", token)
	chrome := newChrome(t)
	tb := chrome.open(server.URL + "/")
	tb.shows(slow, "way", "Live over a stream")
	second := chrome.open(server.URL + "/")
	second.shows(slow, "way", "Live over another tab’s connection")
	tb.shows(slow, "users", "2")

	second.do("pretend", chromedp.Click(chromedp.ID("pretend")))
	second.shows(slow, "way", "Live by polling")
	second.shows(slow, "users", "2")
	if got := eval[string](second, `document.getElementById('pretend').getAttribute('aria-pressed')`); got != "true" {
		t.Errorf("the button is pressed: %s", got)
	}
	emit(t, server, "lobby", "news", `{"a":"<b>"}`)
	for _, one := range []*tab{tb, second} {
		rig.Wait(t, slow, "news", func() bool {
			return regexp.MustCompile(`^\d\d:\d\d:\d\d news {"a":"<b>"}$`).MatchString(one.text("heard"))
		})
	}
	// The page listens for what its command emits, and for every event if it is told to.
	tb.do("show every event", chromedp.Click(chromedp.ID("every")))
	rig.Wait(t, slow, "an event of any name", func() bool {
		emit(t, server, "lobby", "other", `2`)
		return strings.Contains(tb.text("heard"), " other 2")
	})
	second.do("stop pretending", chromedp.Click(chromedp.ID("pretend")))
	second.shows(slow, "way", "Live over another tab’s connection")
	tb.shows(slow, "users", "2")
	tb.faultless()
	second.faultless()

	// The line that the page tells people to paste works, token aside.
	line := strings.ReplaceAll(tb.text("emit"), "TOKEN", token)
	if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	rig.Wait(t, slow, "hi", func() bool { return strings.Contains(tb.text("heard"), ` news "hi"`) })
}
