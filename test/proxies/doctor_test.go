package proxies

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"headcount/test/rig"
)

// Both doctors find what a proxy does, and say the same of it: the one in the page and the one in the terminal.
func TestDoctors(t *testing.T) {
	t.Parallel() // it mostly waits
	chrome := startChrome(t)
	some := []string{"nginx", "nginx, X-Accel-Buffering ignored", "HAProxy", "lighttpd"}
	for _, p := range All() {
		if os.Getenv("DOCTORS") == "all" && !p.Forward && !p.TLS {
			some = append(some, p.Name)
		}
		if !slices.Contains(some, p.Name) {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			// No ping at 2 s, when the doctors close their stream: a sign of life on its way then keeps them counted.
			server := rig.Start(t, "-token", token, "-heartbeat", "1300ms", "-h2c")
			via := p.Start(t, server.Addr)
			want := map[Verdict]string{Live: "Streams work on this connection.", Late: "Streams work on this connection.", Whole: "Only polling works on this connection."}[p.Streams]
			terminal, err := rig.Examine(t, via.URL, "3s", nil)
			if err != nil {
				t.Fatal(err)
			}
			page := chrome.examine(t, via.URL)
			if terminal.Diagnosis != want || page.Diagnosis != want {
				t.Errorf("the terminal says %q, the page %q; want %q", terminal.Diagnosis, page.Diagnosis, want)
			}
			if len(page.Findings) != len(terminal.Findings) {
				t.Fatalf("the terminal has %d findings, the page %d", len(terminal.Findings), len(page.Findings))
			}
			for i, got := range page.Findings {
				t.Logf("%-24s %-8s %s", got.Name, got.Verdict, got.Words)
				want := terminal.Findings[i]
				if got.Name == "closed streams" && p.Hears == Second && want.Verdict != "UNSEEN" && got.Verdict != "UNSEEN" {
					continue // how late depends on when the next heartbeat comes
				}
				if got.Verdict != want.Verdict || got.Verdict != "BLOCKED" && rig.Timeless(got.Words) != rig.Timeless(want.Words) {
					t.Errorf("the page says\n%v\nthe terminal\n%v", got, want)
				}
			}
		})
	}
}

// examine opens the page and has it examine the way that it came.
func (c *chrome) examine(t *testing.T, url string) (said rig.Report) {
	t.Helper()
	ctx, cancel := chromedp.NewContext(c.ctx)
	t.Cleanup(cancel)
	ctx, cancelTime := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancelTime)
	err := chromedp.Do(ctx, chromedp.Navigate(url+"/"), chromedp.Evaluate[chromedp.Void](`document.getElementById('examine').click()`))
	if err != nil {
		t.Fatalf("open page: %v", err)
	}
	rig.Wait(t, time.Minute, "a diagnosis", func() bool {
		var err error
		if said, err = chromedp.Run(ctx, chromedp.Evaluate[rig.Report](rig.PageReport)); err != nil {
			t.Fatalf("ask the page: %v", err)
		}
		return strings.HasSuffix(said.Diagnosis, "on this connection.")
	})
	return said
}
