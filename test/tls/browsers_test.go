package tls

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"headcount/test/rig"
	"headcount/test/rig/chromium"
)

// browserTime is how long a browser may take to start, on a busy machine.
const browserTime = 90 * time.Second

// page subscribes to two rooms, one by io.js and one by an EventSource of its own, and reports what it hears.
const page = `<!doctype html><script>
let reports = Promise.resolve()
const heard = (line) => { reports = reports.then(() => fetch('/heard', {method: 'POST', body: line})) }
heard('page')
</script><script src="URL/assets/io.js" onerror="heard('io.js cannot be loaded')"></script><script>
const socket = io('URL/socket')
for (const name of ['user count', 'n']) socket.on(name, (data) => heard('socket: ' + name + ' ' + data))
const source = new EventSource('URL/events?room=source')
for (const name of ['user count', 'n']) source.addEventListener(name, (e) => heard('source: ' + name + ' ' + e.data))
</script>`

// reporter serves the page from another origin and collects its reports.
type reporter struct {
	*httptest.Server
	mu    sync.Mutex
	lines []string
}

func newReporter(t *testing.T, s *server) *reporter {
	t.Helper()
	r := &reporter{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, strings.ReplaceAll(page, "URL", s.URL))
	})
	mux.HandleFunc("POST /heard", func(_ http.ResponseWriter, req *http.Request) {
		line, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lines = append(r.lines, string(line))
	})
	r.Server = httptest.NewServer(mux) // "localhost" is a secure context without TLS too
	t.Cleanup(r.Close)
	r.URL = strings.Replace(r.URL, "127.0.0.1", "localhost", 1)
	return r
}

func (r *reporter) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

func (r *reporter) wait(t *testing.T, within time.Duration, line string) {
	t.Helper()
	rig.Wait(t, within, fmt.Sprintf("%q of the page", line), func() bool { return slices.Contains(r.heard(), line) })
}

// Browsers get the count and events of every size over TLS streams that the loops write. They leave the count as soon
// as they are closed.
func TestBrowsers(t *testing.T) {
	for _, browser := range []struct {
		name string
		open func(t *testing.T, s *server, url string) (kill func())
	}{
		{"Chromium", openChromium},
		{"Firefox", openFirefox},
		{"WebKit", openWebKit},
	} {
		t.Run(browser.name, func(t *testing.T) {
			s := start(t, "-http2=false", "-origins", "*")
			r := newReporter(t, s)
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("heard %.2000q\nserver: %s", r.heard(), s.Log())
				}
			})
			kill := browser.open(t, s, r.URL)
			r.wait(t, browserTime, "socket: user count 1")
			r.wait(t, patience, "source: user count 1")
			s.wantStreams("epoll_tls", 2)
			sizes := []int{0, 1000, 16384, 40000, 10}
			for _, room := range []string{"socket", "source"} {
				s.sent = 0
				for _, size := range sizes {
					s.emit(room, size)
				}
			}
			for n, size := range sizes {
				text := fmt.Sprintf("%d.%s", n+1, strings.Repeat("x", size))
				r.wait(t, patience, "socket: n "+text)
				r.wait(t, patience, `source: n "`+text+`"`)
			}
			kill()
			s.wantGone("source")
			s.wantGone("socket")
		})
	}
}

func openChromium(t *testing.T, _ *server, url string) (kill func()) {
	ctx := chromium.Start(t, "ignore-certificate-errors")
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error(err)
		}
	}
}

// openFirefox starts Firefox with a profile that trusts the authority.
func openFirefox(t *testing.T, s *server, url string) (kill func()) {
	bin := rig.Need(t, "firefox-esr", "apt-get install firefox-esr")
	certutil := rig.Need(t, "certutil", "apt-get install libnss3-tools")
	profile := t.TempDir()
	for _, args := range []string{"-N --empty-password", "-A -n authority -t C,, -i " + s.authority} {
		cmd := exec.Command(certutil, append(strings.Fields(args), "-d", "sql:"+profile)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", cmd, err, out)
		}
	}
	const prefs = `
		user_pref("app.update.auto", false);
		user_pref("browser.shell.checkDefaultBrowser", false);
		user_pref("browser.aboutwelcome.enabled", false);
		user_pref("datareporting.policy.dataSubmissionEnabled", false);
		user_pref("network.captive-portal-service.enabled", false);
		user_pref("network.connectivity-service.enabled", false);
		user_pref("toolkit.telemetry.enabled", false);`
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs), 0o644); err != nil {
		t.Fatal(err)
	}
	return run(t, profile, bin, "--headless", "--no-remote", "--profile", profile, url)
}

// openWebKit starts the browser that comes with WebKitGTK, on a screen that nobody sees.
func openWebKit(t *testing.T, _ *server, url string) (kill func()) {
	const install = "apt-get install webkit2gtk-driver xvfb xauth"
	screen := rig.Need(t, "xvfb-run", install)
	browsers, err := filepath.Glob("/usr/lib/*/webkit2gtk-4.*/MiniBrowser")
	if err != nil || len(browsers) == 0 {
		t.Fatalf("MiniBrowser is missing; install it: %s", install)
	}
	return run(t, t.TempDir(), screen, "--auto-servernum", browsers[0], "--ignore-tls-errors", url)
}

// run starts a browser with a home of its own. kill ends all its processes.
func run(t *testing.T, home, name string, args ...string) (kill func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+home, "XDG_DATA_HOME="+home, "MOZ_CRASHREPORTER_DISABLE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var log rig.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	})
	t.Cleanup(func() {
		kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, log.String())
		}
	})
	return kill
}
