package browser

import (
	"os"
	"strings"
	"testing"

	"headcount/test/rig"
)

func TestAccessible(t *testing.T) {
	axe := axeSource(t)
	server := rig.Start(t)
	subscribe(t, server, 2)
	chrome := newChrome(t)
	for _, s := range screens() {
		t.Run(s.String(), func(t *testing.T) {
			tb := chrome.on(t, s, server.URL+"/")
			tb.shows(slow, "way", "Live over a stream")
			if got := axeFinds(tb, axe); got != "" {
				t.Errorf("axe while live: %s", got)
			}
			tb.close()
		})
	}
	t.Run("not live", func(t *testing.T) {
		tb := chrome.attach()
		tb.t = t
		tb.goTo(server.URL + "/")
		tb.shows(slow, "way", "Live over a stream")
		server.Kill()
		rig.Wait(t, slow, "not live", func() bool { return strings.HasPrefix(tb.text("way"), "Not live") })
		if got := axeFinds(tb, axe); got != "" {
			t.Errorf("axe while not live: %s", got)
		}
	})
}

// axeFinds runs every rule of axe and returns the violations, one a line.
func axeFinds(tb *tab, axe string) string {
	tb.t.Helper()
	eval[bool](tb, axe+`; true`)
	if n := eval[int](tb, `axe.run().then((result) => { window.found = result; return result.passes.length })`); n < 10 {
		tb.t.Errorf("axe: only %d rules applied", n)
	}
	return eval[string](tb, `found.violations.map((v) => v.id + ': ' + v.help + ' ' + v.nodes.map((n) => n.html).join(' ')).join('\n')`)
}

// axeSource returns the source of axe-core as pinned in package-lock.json. It installs the package if it is missing.
func axeSource(t *testing.T) string {
	t.Helper()
	if err := rig.InstallNPM("."); err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}
