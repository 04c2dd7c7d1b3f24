package browser

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// A firefox is one running Firefox with a profile of its own, driven over Marionette, which it speaks itself.
type firefox struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	n    int
}

func newFirefox(t *testing.T) *firefox {
	t.Helper()
	bin := rig.Need(t, "firefox-esr", "apt-get install firefox-esr")
	addr := rig.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	profile := t.TempDir()
	prefs := fmt.Sprintf(`
		user_pref("marionette.port", %s);
		user_pref("network.dns.localDomains", "real.test");
		user_pref("app.update.auto", false);
		user_pref("browser.shell.checkDefaultBrowser", false);
		user_pref("datareporting.policy.dataSubmissionEnabled", false);
		user_pref("network.captive-portal-service.enabled", false);
		user_pref("network.connectivity-service.enabled", false);
		user_pref("toolkit.telemetry.enabled", false);`, port)
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--headless", "--marionette", "--no-remote", "--profile", profile)
	cmd.Env = append(os.Environ(), "HOME="+profile)
	var log rig.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("log of Firefox:\n%s", log.String())
		}
	})
	f := &firefox{t: t}
	rig.Wait(t, 60*time.Second, "Firefox", func() bool {
		conn, err := net.Dial("tcp", addr)
		f.conn = conn
		return err == nil
	})
	t.Cleanup(func() { f.conn.Close() })
	f.in = bufio.NewReader(f.conn)
	f.read() // its greeting
	f.call("WebDriver:NewSession", map[string]any{}, nil)
	f.call("WebDriver:SetTimeouts", map[string]any{"script": slow.Milliseconds(), "pageLoad": slow.Milliseconds()}, nil)
	return f
}

// read reads one message: its length, a colon, and JSON.
func (f *firefox) read() []byte {
	f.t.Helper()
	f.conn.SetReadDeadline(time.Now().Add(2 * slow))
	size, err := f.in.ReadString(':')
	if err != nil {
		f.t.Fatalf("read from Firefox: %v", err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
	if err != nil {
		f.t.Fatalf("read from Firefox: %v", err)
	}
	message := make([]byte, n)
	if _, err := io.ReadFull(f.in, message); err != nil {
		f.t.Fatalf("read from Firefox: %v", err)
	}
	return message
}

func (f *firefox) call(command string, params any, result any) {
	f.t.Helper()
	f.n++
	message, err := json.Marshal([]any{0, f.n, command, params})
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f.conn, "%d:%s", len(message), message); err != nil {
		f.t.Fatalf("write to Firefox: %v", err)
	}
	var answer [4]json.RawMessage
	if err := json.Unmarshal(f.read(), &answer); err != nil {
		f.t.Fatalf("%s: %v", command, err)
	}
	if string(answer[2]) != "null" {
		f.t.Fatalf("%s: %s", command, answer[2])
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(answer[3], result); err != nil {
		f.t.Fatalf("%s: %v in %s", command, err, answer[3])
	}
}

// open opens a tab and returns its handle. What its socket hears is in window.heard.
func (f *firefox) open(url string) string {
	f.t.Helper()
	var tab struct{ Handle string }
	f.call("WebDriver:NewWindow", map[string]any{"type": "tab"}, &tab)
	f.to(tab.Handle)
	f.call("WebDriver:Navigate", map[string]any{"url": url}, nil)
	f.eval(nil, `const heard = (window.wrappedJSObject ?? window).heard = []
		const socket = (window.wrappedJSObject ?? window).socket = (window.wrappedJSObject ?? window).io()
		socket.onAny((name, data) => { heard.push(name + ' ' + data) })
		socket.on('disconnect', (reason) => { heard.push('disconnect ' + reason) })`)
	return tab.Handle
}

func (f *firefox) to(tab string) {
	f.t.Helper()
	f.call("WebDriver:SwitchToWindow", map[string]any{"handle": tab, "focus": true}, nil)
}

func (f *firefox) eval(result any, script string) {
	f.t.Helper()
	var answer struct{ Value json.RawMessage }
	f.call("WebDriver:ExecuteScript", map[string]any{"script": script, "args": []any{}, "sandbox": nil}, &answer)
	if result == nil {
		return
	}
	if err := json.Unmarshal(answer.Value, result); err != nil {
		f.t.Fatalf("%s: %v in %s", script, err, answer.Value)
	}
}

func (f *firefox) heard(tab string) (lines []string) {
	f.t.Helper()
	f.to(tab)
	f.eval(&lines, `return window.heard`)
	return lines
}

func (f *firefox) hears(tab string, deadline time.Duration, line string) {
	f.t.Helper()
	var lines []string
	defer func() {
		if f.t.Failed() {
			f.t.Logf("heard %q", lines)
		}
	}()
	rig.Wait(f.t, deadline, fmt.Sprintf("%q in Firefox", line), func() bool {
		lines = f.heard(tab)
		return len(lines) > 0 && lines[len(lines)-1] == line
	})
}

func (f *firefox) transport(tab string) (way string) {
	f.t.Helper()
	f.to(tab)
	f.eval(&way, `return String(window.socket.transport)`)
	return way
}

func TestFirefox(t *testing.T) {
	for _, host := range hosts {
		for _, how := range []struct {
			name string
			manner
			way string
		}{{"stream", passes, "stream"}, {"polls", holds, "poll"}} {
			t.Run(host.name+" "+how.name, func(t *testing.T) {
				server := rig.Start(t, "-token", token)
				box := newBox(t, server, how.manner)
				url := box.url(t, host.name) + "/page/client.html"
				fox := newFirefox(t)
				var tabs []string
				begin := time.Now()
				for i := range 12 {
					tabs = append(tabs, fox.open(url))
					fox.hears(tabs[i], slow, fmt.Sprintf("user count %d", i+1))
					if i == 0 {
						t.Logf("counted %v after opening", time.Since(begin).Round(time.Millisecond))
						if got := fox.transport(tabs[0]); got != how.way {
							t.Errorf("the transport is %s, want %s", got, how.way)
						}
					}
				}
				var secure bool
				if fox.eval(&secure, `return isSecureContext && !!navigator.locks`); secure != host.secure {
					t.Fatalf("secure with locks: %v, want %v", secure, host.secure)
				}
				if open, most, _, _ := box.seen(); how.way == "stream" && (open != 1 || most != 1) {
					t.Errorf("%d streams are open, %d at most; want 1", open, most)
				}
				if got := fox.transport(tabs[11]); got != "shared" {
					t.Errorf("the last tab's transport is %s, want shared", got)
				}

				feed := newFeed(t, server)
				begin = time.Now()
				rig.Wait(t, slow, "a second", func() bool { return time.Since(begin) > time.Second })
				fox.to(tabs[0])
				begin = time.Now()
				fox.call("WebDriver:CloseWindow", map[string]any{}, nil)
				rig.Wait(t, time.Second, "11 users", func() bool { return server.Count("lobby") == 11 })
				t.Logf("11 users %v after the leader was closed", time.Since(begin).Round(time.Millisecond))
				fox.to(tabs[1])
				fox.call("WebDriver:Navigate", map[string]any{"url": box.url(t, host.name) + "/page/away.html"}, nil)
				rig.Wait(t, 2*time.Second, "10 users", func() bool { return server.Count("lobby") == 10 })
				begin = time.Now()
				rig.Wait(t, slow, "a second", func() bool { return time.Since(begin) > time.Second })
				feed.finish()
				for _, tab := range tabs[2:] {
					var lines []string
					rig.Wait(t, slow, "all news", func() bool {
						lines = nil
						for _, line := range fox.heard(tab) {
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
