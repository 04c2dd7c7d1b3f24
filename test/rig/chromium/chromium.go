// Package chromium starts a Chromium for tests.
package chromium

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"headcount/test/rig"
)

// Opening is how long Chromium may take to open a tab. It was seen to hang on a busy machine.
const Opening = time.Minute

// Tabs returns a context of the browser with its own tabs, storage and connections, like another profile. It ends with
// the test.
func Tabs(t testing.TB, browser context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	late := time.AfterFunc(Opening, cancel)
	defer late.Stop()
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("open a browser context: %v", err)
	}
	return ctx
}

// Start starts Chromium with a profile of its own and returns its context for chromedp. It ends with the test. Flags
// are additional flags, NAME or NAME=VALUE. Chromium starts as users have it, because chromedp's own flags would
// switch off what headcount has to live with.
func Start(t testing.TB, flags ...string) context.Context {
	t.Helper()
	bin := rig.Need(t, "chromium", "apt-get install chromium")
	ctx, stop, err := Launch(bin, t.TempDir(), flags...)
	t.Cleanup(stop)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// Launch is Start for a browser that outlives a test. Call stop to end it, even after an error. Its profile is in the
// directory.
func Launch(bin, profile string, flags ...string) (ctx context.Context, stop func(), err error) {
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(bin), chromedp.UserDataDir(profile)}
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
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	stop = func() {
		cancelBrowser()
		cancel()
	}
	late := time.AfterFunc(Opening, cancelBrowser)
	defer late.Stop()
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		return ctx, stop, fmt.Errorf("start %s: %w", bin, err)
	}
	return ctx, stop, nil
}
