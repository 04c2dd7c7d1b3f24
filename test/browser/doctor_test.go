package browser

import (
	"slices"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// heartbeat differs from the 2 s that the doctors' own probe takes. A renewal that is in transit when they close their
// stream keeps them counted. The doctor in the terminal waits for silence as long as the one in the page, 1.25
// heartbeats.
const (
	heartbeat = "3s"
	silence   = "3750ms"
)

// The doctor in the page and the one in the terminal report the same about the same network. Verdicts are equal, and
// sentences too, except for times.
func TestDoctor(t *testing.T) {
	axe := axeSource(t)
	for name, test := range map[string]struct {
		how     manner // of the box; none if direct
		direct  bool
		verdict string
		differ  string // findings that a browser cannot explain as well
		advice  string // that is given, "" if there is none
	}{
		"direct":         {direct: true, verdict: "Streams work on this connection."},
		"passes":         {how: passes, verdict: "Streams work on this connection.", differ: "WebSockets"},
		"held back":      {how: holds, verdict: "Only polling works on this connection.", differ: "WebSockets", advice: "proxy_buffering off"},
		"forbidden":      {how: forbids, verdict: "Only polling works on this connection.", differ: "WebSockets", advice: "allow GET /events"},
		"one event late": {how: lags, verdict: "Streams work on this connection.", differ: "WebSockets", advice: "only when the next one comes"},
		"no POST":        {how: censors, verdict: "Only polling works on this connection.", differ: "WebSockets", advice: "Allow POST"},
		"silence cut":    {how: tires, verdict: "Streams work on this connection.", differ: "WebSockets", advice: "-heartbeat 1s"},
		"nothing passes": {how: declines, verdict: "Nothing works on this connection.", differ: "WebSockets", advice: "allow GET /events"},
		"cut":            {how: cuts, verdict: "Streams work on this connection.", differ: "WebSockets", advice: "stay counted"},
		"other bytes":    {how: retypes, verdict: "Streams work on this connection.", differ: "WebSockets", advice: "rewrites the text"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := rig.Start(t, "-token", token, "-heartbeat", heartbeat, "-linger", "500ms")
			url := server.URL
			if !test.direct {
				url = newBox(t, server, test.how).URL
				t.Cleanup(func() { emit(t, server, "lobby", "end", "0") }) // of a poll under way
			}
			tb := newChrome(t).attach()
			tb.goTo(url + "/")
			if test.how != declines {
				tb.shows(slow, "noun", "user")
			}
			eval[bool](tb, `
				window.counts = []
				io({ room: 'lobby' }).on('user count', (users) => counts.push(users))
				document.getElementById('examine').click()
				true`)
			tb.shows(slow, "examine", "Stop checking")
			tb.shows(time.Minute, "examine", "Check my connection")
			page := eval[rig.Report](tb, rig.PageReport)
			if page.Diagnosis != test.verdict {
				t.Errorf("the page says %q, want %q", page.Diagnosis, test.verdict)
			}
			advice := eval[string](tb, `document.querySelector('.todo').hidden ? '' : document.querySelector('.advice').textContent`)
			if !strings.Contains(advice, test.advice) || (test.advice == "") != (advice == "") {
				t.Errorf("the page advises %q, want %q in it", advice, test.advice)
			}
			if got := eval[[]int](tb, `counts`); test.how != declines && (slices.Max(got) != 1 || slices.Min(got) != 1) {
				t.Errorf("the count of the page's room was %v meanwhile, want 1", got)
			}

			if test.how == holds {
				for _, s := range screens() {
					tb.look(s)
					if got := axeFinds(tb, axe); got != "" {
						t.Errorf("axe: %s", got)
					}
					if out := eval[int](tb, `document.documentElement.scrollWidth - innerWidth`); out > 0 {
						t.Errorf("on a %v screen the page is %d pixels too wide", s, out)
					}
				}
			}

			terminal := examine(t, url)
			if terminal.Diagnosis != test.verdict {
				t.Errorf("client doctor says %q, want %q", terminal.Diagnosis, test.verdict)
			}
			compare(t, page.Findings, terminal.Findings, test.differ)
		})
	}
}

// compare fails the test unless both doctors find the same. Sentences may differ where a browser cannot explain as
// much.
func compare(t *testing.T, page, terminal []rig.Finding, differ string) {
	t.Helper()
	if len(page) != len(terminal) {
		t.Fatalf("the page has %d findings, client doctor %d", len(page), len(terminal))
	}
	for i, got := range page {
		t.Logf("%-24s %-8s %s", got.Name, got.Verdict, got.Words)
		want := terminal[i]
		differs := strings.Contains(differ, want.Name)
		if got.Name != want.Name || got.Verdict != want.Verdict || !differs && rig.Timeless(got.Words) != rig.Timeless(want.Words) {
			t.Errorf("the page says\n%s %s %s\nclient doctor\n%s %s %s", got.Name, got.Verdict, got.Words, want.Name, want.Verdict, want.Words)
		}
	}
}

// In the other browser engines the doctor finds the same as in Chromium, even without crypto.subtle.
func TestDoctorElsewhere(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, open := range engines {
		for _, host := range hosts {
			t.Run(name+" "+host.name, func(t *testing.T) {
				t.Parallel()
				server := rig.Start(t, "-heartbeat", heartbeat, "-linger", "500ms")
				box := newBox(t, server, passes)
				r, url := open(t, box, host.name)
				r.open(url + "/")
				r.eval(nil, `document.getElementById('examine').click()`)
				var page rig.Report
				rig.Wait(t, time.Minute, "a verdict", func() bool {
					r.eval(&page, "return "+rig.PageReport)
					return strings.HasSuffix(page.Diagnosis, "on this connection.")
				})
				if page.Diagnosis != "Streams work on this connection." {
					t.Errorf("the page says %q", page.Diagnosis)
				}
				differ := "WebSockets"
				if !host.secure {
					differ += " unchanged"
				}
				compare(t, page.Findings, examine(t, box.URL).Findings, differ)
			})
		}
	}
}

// A user who stops the doctor or leaves the page leaves nothing behind.
func TestDoctorStops(t *testing.T) {
	server := rig.Start(t)
	box := newBox(t, server, passes)
	tb := newChrome(t).attach()
	tb.goTo(box.URL + "/")
	tb.shows(slow, "way", "Live over a stream")
	click := func() { eval[bool](tb, `document.getElementById('examine').click(); true`) }
	for range 2 {
		click()
		rig.Wait(t, slow, "the doctor's own stream", func() bool { open, _, _, _ := box.seen(); return open == 2 })
		click()
		tb.shows(slow, "examine", "Check my connection")
		if !eval[bool](tb, `document.getElementById('examined').hidden`) {
			t.Error("what was found is still shown")
		}
		rig.Wait(t, slow, "the end of the doctor's stream", func() bool { open, _, _, _ := box.seen(); return open == 1 })
	}
	click()
	rig.Wait(t, slow, "the doctor's own stream", func() bool { open, _, _, _ := box.seen(); return open == 2 })
	tb.goTo(box.URL + "/page/away.html")
	rig.Wait(t, slow, "the end of all streams", func() bool { open, _, _, _ := box.seen(); return open == 0 })
	tb.faultless("WebSocket connection")
}

// examine runs client doctor on the same network.
func examine(t *testing.T, url string) rig.Report {
	t.Helper()
	said, err := rig.Examine(t, url, silence, nil)
	if err != nil {
		t.Fatal(err)
	}
	return said
}
