// Package chromium starts a Chromium for tests.
package chromium

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"headcount/test/rig"
)

// Start starts Chromium with a profile of its own and returns its context for chromedp. It ends when the test ends.
// Flags are more of its flags, NAME or NAME=VALUE. It starts as users have it: chromedp's own flags would switch off what
// we are to live with.
func Start(t testing.TB, flags ...string) context.Context {
	t.Helper()
	bin := rig.Need(t, "chromium", "apt-get install chromium")
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(bin), chromedp.UserDataDir(t.TempDir())}
	for _, flag := range append([]string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
		"disable-component-update", "disable-sync",
	}, flags...) {
		if name, value, ok := strings.Cut(flag, "="); ok {
			options = append(options, chromedp.Flag(name, value))
		} else {
			options = append(options, chromedp.Flag(name, true))
		}
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	t.Cleanup(cancelBrowser)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start %s: %v", bin, err)
	}
	return ctx
}
