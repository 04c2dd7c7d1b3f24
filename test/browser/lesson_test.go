package browser

import (
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"headcount/test/rig"
)

// The client code of the lesson in testdata/lesson.js works unchanged.
func TestLesson(t *testing.T) {
	server := rig.Start(t)
	chrome := newChrome(t)
	lesson := server.URL + "/test/lesson.html"

	first := chrome.open(lesson)
	first.expect(slow, "1")
	if lines := first.lines(); len(lines) != 1 {
		t.Errorf("one tab logged %q, want 1 alone", lines)
	}
	second := chrome.open(lesson)
	second.expect(slow, "2")
	third := chrome.open(lesson)
	third.expect(slow, "3")
	for _, tb := range []*tab{first, second} {
		tb.expect(soon, "3")
	}
	if got, want := first.lines(), []string{"1", "2", "3"}; !slices.Equal(got, want) {
		t.Errorf("the first of three tabs logged %q, want %q", got, want)
	}

	third.close()
	first.expect(gone, "2")
	second.expect(gone, "2")

	// A browser keeps the page that a link was followed from, and would keep its connection as well.
	eval[bool](second, `addEventListener('pageshow', (event) => { window.restored = event.persisted }), true`)
	second.do("follow the link", chromedp.Evaluate[chromedp.Void](`document.getElementById('away').click()`))
	first.expect(gone, "1")
	rig.Wait(t, slow, "the other page", func() bool { return eval[string](second, `document.title`) == "Somewhere else" })

	second.forget()
	second.do("go back", chromedp.Evaluate[chromedp.Void](`history.back()`))
	second.expect(slow, "2")
	first.expect(soon, "2")
	if !eval[bool](second, `window.restored === true`) {
		t.Error("the page did not come from the back/forward cache, so this proves nothing")
	}
	for _, tb := range []*tab{first, second} {
		tb.faultless()
	}
}

func TestReturnAfterRestart(t *testing.T) {
	server := rig.Start(t)
	chrome := newChrome(t)
	var tabs []*tab
	for range 4 {
		tabs = append(tabs, chrome.open(server.URL+"/test/lesson.html"))
	}
	for _, tb := range tabs {
		tb.expect(slow, "4")
		tb.forget()
	}

	t.Run("stopped and started", func(t *testing.T) {
		server.Restart()
		for _, tb := range tabs {
			tb.expect(slow, "4")
			tb.forget()
		}
	})
	t.Run("killed and away for a while", func(t *testing.T) {
		server.Kill()
		away := time.Now()
		rig.Wait(t, slow, "3 seconds to pass", func() bool { return time.Since(away) > 3*time.Second })
		server.Restart()
		for _, tb := range tabs {
			tb.expect(slow, "4")
		}
	})
	if got := server.Count("lobby"); got != 4 {
		t.Errorf("/count says %d, want 4", got)
	}
	for _, tb := range tabs {
		// That the server was away, the browser itself says in the console.
		tb.faultless("net::ERR_")
	}
}
