package browser

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// remote is a browser that is controlled by WebDriver commands.
type remote struct {
	t *testing.T
	// do calls a command by its name in Marionette, which for the rest is WebDriver's.
	do func(command string, params any) json.RawMessage
}

func (r *remote) call(command string, params any, result any) {
	r.t.Helper()
	answer := r.do(command, params)
	if result == nil {
		return
	}
	if err := json.Unmarshal(answer, result); err != nil {
		r.t.Fatalf("%s: %v in %s", command, err, answer)
	}
}

// open opens a tab and returns its handle. window.heard has everything that its socket gets.
func (r *remote) open(url string) string {
	r.t.Helper()
	var tab struct{ Handle string }
	r.call("WebDriver:NewWindow", map[string]any{"type": "tab"}, &tab)
	r.to(tab.Handle)
	r.call("WebDriver:Navigate", map[string]any{"url": url}, nil)
	r.listen()
	return tab.Handle
}

// listen makes the page record everything that its socket gets.
func (r *remote) listen() {
	r.t.Helper()
	r.eval(nil, `const heard = window.heard = []
		const socket = window.socket = window.io()
		socket.onAny((name, data) => { heard.push(name + ' ' + data) })
		socket.on('disconnect', (reason) => { heard.push('disconnect ' + reason) })`)
}

func (r *remote) to(tab string) {
	r.t.Helper()
	r.call("WebDriver:SwitchToWindow", map[string]any{"handle": tab, "focus": true}, nil)
}

func (r *remote) eval(result any, script string) {
	r.t.Helper()
	var answer struct{ Value json.RawMessage }
	r.call("WebDriver:ExecuteScript", map[string]any{"script": script, "args": []any{}, "sandbox": nil}, &answer)
	if result == nil {
		return
	}
	if err := json.Unmarshal(answer.Value, result); err != nil {
		r.t.Fatalf("%s: %v in %s", script, err, answer.Value)
	}
}

func (r *remote) heard(tab string) (lines []string) {
	r.t.Helper()
	r.to(tab)
	r.eval(&lines, `return window.heard`)
	return lines
}

func (r *remote) hears(tab string, deadline time.Duration, line string) {
	r.t.Helper()
	var lines []string
	defer func() {
		if r.t.Failed() {
			r.t.Logf("heard %q", lines)
		}
	}()
	rig.Wait(r.t, deadline, fmt.Sprintf("%q in the other browser", line), func() bool {
		lines = r.heard(tab)
		return len(lines) > 0 && lines[len(lines)-1] == line
	})
}

func (r *remote) transport(tab string) (way string) {
	r.t.Helper()
	r.to(tab)
	r.eval(&way, `return String(window.socket.transport)`)
	return way
}

// engines are the other browsers by name.
var engines = map[string]func(t *testing.T, b *box, host string) (r *remote, url string){"Firefox": newFirefox, "WebKit": newWebKit}

// In the other engines, twelve tabs do the same as in TestTwelveTabs, by streams with Web Locks and by polls without.
// BROWSERS=all runs the two other combinations too.
func TestOtherBrowsers(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testShare(t, open)
		})
	}
}

func testShare(t *testing.T, open func(t *testing.T, b *box, host string) (r *remote, url string)) {
	for _, host := range hosts {
		for _, how := range []struct {
			name string
			manner
			way string
		}{{"stream", passes, "stream"}, {"polls", holds, "poll"}} {
			if host.secure != (how.way == "stream") && os.Getenv("BROWSERS") != "all" {
				continue
			}
			t.Run(host.name+" "+how.name, func(t *testing.T) {
				server := rig.Start(t, "-token", token)
				box := newBox(t, server, how.manner)
				r, url := open(t, box, host.name)
				var tabs []string
				begin := time.Now()
				for i := range 12 {
					tabs = append(tabs, r.open(url+"/page/client.html"))
					r.hears(tabs[i], slow, fmt.Sprintf("user count %d", i+1))
					if i == 0 {
						t.Logf("counted %v after opening", time.Since(begin).Round(time.Millisecond))
						if got := r.transport(tabs[0]); got != how.way {
							t.Errorf("the transport is %s, want %s", got, how.way)
						}
					}
				}
				var secure bool
				if r.eval(&secure, `return isSecureContext && !!navigator.locks`); secure != host.secure {
					t.Fatalf("secure with locks: %v, want %v", secure, host.secure)
				}
				if open, most, _, _ := box.seen(); how.way == "stream" && (open != 1 || most != 1) {
					t.Errorf("%d streams are open, %d at most; want 1", open, most)
				}
				if got := r.transport(tabs[11]); got != "shared" {
					t.Errorf("the last tab's transport is %s, want shared", got)
				}

				feed := newFeed(t, server)
				begin = time.Now()
				rig.Wait(t, slow, "a second", func() bool { return time.Since(begin) > time.Second })
				r.to(tabs[0])
				begin = time.Now()
				r.call("WebDriver:CloseWindow", map[string]any{}, nil)
				rig.Wait(t, gone, "11 users", func() bool { return server.Count("lobby") == 11 })
				t.Logf("11 users %v after the leader was closed", time.Since(begin).Round(time.Millisecond))
				r.to(tabs[1])
				r.call("WebDriver:Navigate", map[string]any{"url": url + "/page/away.html"}, nil)
				rig.Wait(t, gone, "10 users", func() bool { return server.Count("lobby") == 10 })
				begin = time.Now()
				rig.Wait(t, slow, "a second", func() bool { return time.Since(begin) > time.Second })
				feed.finish()
				for _, tab := range tabs[2:] {
					var lines []string
					rig.Wait(t, slow, "all news", func() bool {
						lines = nil
						for _, line := range r.heard(tab) {
							if strings.HasPrefix(line, "news") {
								lines = append(lines, line)
							}
						}
						return len(lines) >= feed.sent
					})
					for i, line := range lines {
						if line != fmt.Sprintf("news %d", i) {
							t.Fatalf("heard %d of %d, and %q as number %d", len(lines), feed.sent, line, i)
						}
					}
				}
				if got := server.Count("lobby"); got != 10 {
					t.Errorf("/count says %d, want 10", got)
				}
			})
		}
	}
}
