// Package browser tests the browser client and the page in a real Chromium, against the real server.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"headcount/test/rig"
	"headcount/test/rig/chromium"
)

const (
	soon = 500 * time.Millisecond // what a person calls at once; the contract of those who leave
	gone = 2 * time.Second        // of a page that was closed or left: it says goodbye for in a second, as it may be loaded again
	slow = 20 * time.Second       // for what has no bound of its own, on a busy machine
)

// policy is as strict as a Content-Security-Policy can be. The pages of testdata are served with it.
const policy = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:"

// chrome behaves like a Chromium with a profile of its own.
type chrome struct {
	t   *testing.T
	ctx context.Context
}

func newChrome(t *testing.T) *chrome {
	t.Helper()
	return &chrome{t: t, ctx: chromium.Tabs(t, browsers)}
}

// tab is one tab and everything that its console showed.
type tab struct {
	t   *testing.T
	ctx context.Context
	id  target.ID

	mu       sync.Mutex
	logged   []string // console.log, one line each
	problems []string // page errors, violations of the policy, and what else the browser reports
}

// open opens a tab. Addresses under /test/ of any server are files of testdata; all others are real.
func (c *chrome) open(url string) *tab {
	c.t.Helper()
	tb := c.attach()
	tb.goTo(url)
	return tb
}

func (c *chrome) attach(opts ...chromedp.ContextOption) *tab {
	c.t.Helper()
	tb := &tab{t: c.t}
	ctx, cancel := chromedp.NewContext(c.ctx, append(opts, chromedp.WithListener(tb.hear))...)
	c.t.Cleanup(cancel)
	tb.ctx = ctx
	late := time.AfterFunc(chromium.Opening, cancel)
	defer late.Stop()
	if _, err := chromedp.Call(ctx, fetch.Enable, fetch.EnableParams{
		Patterns: []*fetch.RequestPattern{{URLPattern: "*://*/test/*"}},
	}); err != nil {
		c.t.Fatalf("open tab: %v", err)
	}
	tb.id = chromedp.FromContext(ctx).Target.TargetID
	return tb
}

func (tb *tab) hear(event any) {
	switch e := event.(type) {
	case *fetch.EventRequestPaused:
		go tb.serve(e) // a call from here would wait for itself
	case *runtime.EventConsoleAPICalled:
		words := make([]string, len(e.Args))
		for i, arg := range e.Args {
			words[i] = string(arg.Value)
			var text string
			if json.Unmarshal(arg.Value, &text) == nil {
				words[i] = text
			}
		}
		tb.mu.Lock()
		defer tb.mu.Unlock()
		if line := strings.Join(words, " "); e.Type == runtime.ConsoleAPICalledTypeLog {
			tb.logged = append(tb.logged, line)
		} else {
			tb.problems = append(tb.problems, fmt.Sprintf("console.%s: %s", e.Type, line))
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		tb.mu.Lock()
		defer tb.mu.Unlock()
		tb.problems = append(tb.problems, text)
	case *log.EventEntryAdded:
		tb.mu.Lock()
		defer tb.mu.Unlock()
		tb.problems = append(tb.problems, fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
	}
}

// serve answers a request under /test/ with a file of testdata.
func (tb *tab) serve(e *fetch.EventRequestPaused) {
	name := e.Request.URL[strings.LastIndex(e.Request.URL, "/test/")+len("/test/"):]
	content, err := os.ReadFile(filepath.Join("testdata", filepath.Base(name)))
	answer := fetch.FulfillRequestParams{RequestID: e.RequestID, ResponseCode: 200, Body: content}
	if err != nil {
		answer.ResponseCode = 404
	}
	kind := "text/html; charset=utf-8"
	if ext := filepath.Ext(name); ext == ".js" || ext == ".mjs" {
		kind = "text/javascript; charset=utf-8"
	}
	answer.ResponseHeaders = []*fetch.HeaderEntry{
		{Name: "Content-Type", Value: kind},
		{Name: "Content-Security-Policy", Value: policy},
	}
	if _, err := chromedp.Call(tb.ctx, fetch.FulfillRequest, answer); err != nil && tb.ctx.Err() == nil {
		tb.t.Errorf("serve %s: %v", name, err)
	}
}

func (tb *tab) goTo(url string) {
	tb.t.Helper()
	tb.do("go to "+url, chromedp.Navigate(url))
}

func (tb *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, slow)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		tb.t.Fatalf("%s: %v", what, err)
	}
}

// close closes the tab as a user does.
func (tb *tab) close() {
	tb.t.Helper()
	if _, err := chromedp.Call(tb.ctx, page.Close, cdp.Empty{}); err != nil {
		tb.t.Fatalf("close tab: %v", err)
	}
}

// eval evaluates an expression in the page. It waits for a promise.
func eval[T any](tb *tab, expression string) T {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, slow)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, func(p *runtime.EvaluateParams) {
		wait := true
		p.AwaitPromise = &wait
	}))
	if err != nil {
		tb.t.Fatalf("evaluate %s: %v", expression, err)
	}
	return value
}

func (tb *tab) lines() []string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return slices.Clone(tb.logged)
}

// forget clears the log of the page.
func (tb *tab) forget() {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.logged = nil
}

// expect waits until this is the last line in the log.
func (tb *tab) expect(deadline time.Duration, line string) {
	tb.t.Helper()
	defer func() {
		if tb.t.Failed() {
			tb.t.Logf("logged: %q, problems: %q", tb.lines(), tb.faults())
		}
	}()
	rig.Wait(tb.t, deadline, fmt.Sprintf("%q logged", line), func() bool {
		lines := tb.lines()
		return len(lines) > 0 && lines[len(lines)-1] == line
	})
}

// faults returns everything that went wrong in the tab, without the lines that contain one of but.
func (tb *tab) faults(but ...string) []string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(tb.problems), func(problem string) bool {
		return slices.ContainsFunc(but, func(part string) bool { return strings.Contains(problem, part) })
	})
}

// faultless fails the test if the tab reported anything.
func (tb *tab) faultless(but ...string) {
	tb.t.Helper()
	if faults := tb.faults(but...); len(faults) > 0 {
		tb.t.Errorf("the browser reports:\n%s", strings.Join(faults, "\n"))
	}
}
