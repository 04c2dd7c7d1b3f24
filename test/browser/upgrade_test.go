package browser

import (
	"path/filepath"
	"slices"
	"testing"

	"headcount/test/rig"
)

// Three tabs log every number that they are shown. Over an upgrade by SIGUSR2, and over a stop and start with -state,
// that is 3 and nothing else.
func TestTabsOverRestarts(t *testing.T) {
	for _, how := range []struct {
		name  string
		again func(*rig.Server)
		hears []string // what the browser itself may say in the console
	}{
		{"SIGUSR2", func(s *rig.Server) { s.Upgrade() }, nil},
		{"stop and start", (*rig.Server).Restart, []string{"net::ERR_"}},
	} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			server := rig.Start(t, "-token", token, "-state", filepath.Join(t.TempDir(), "state"), "-drain", "1s")
			chrome := newChrome(t)
			var tabs []*tab
			for range 3 {
				tabs = append(tabs, chrome.open(server.URL+"/test/lesson.html"))
			}
			for _, tb := range tabs {
				tb.expect(slow, "3")
				tb.forget()
				eval[bool](tb, `io().on('news', (data) => console.log(data)); true`)
			}
			for _, news := range []string{"first", "second"} {
				how.again(server)
				emit(t, server, "lobby", "news", news)
				for i, tb := range tabs {
					rig.Wait(t, slow, news, func() bool { return slices.Contains(tb.lines(), news) })
					if all := tb.lines(); slices.ContainsFunc(all, func(line string) bool { return line != "3" && line != "first" && line != "second" }) {
						t.Errorf("tab %d logged %q, want 3 and the news alone", i, all)
					}
				}
			}
			if got := server.Count("lobby"); got != 3 {
				t.Errorf("/count says %d, want 3", got)
			}
			for _, tb := range tabs {
				tb.faultless(how.hears...)
			}
			server.Stop()
		})
	}
}
