// Package recipes runs the recipes of docs/recipes.md: the files that it shows, with the tools that they are for, in a
// real browser.
package recipes

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"headcount/test/rig"
	"headcount/test/rig/chromium"
)

// TestMain installs the npm packages when they are not there as package-lock.json has them.
func TestMain(m *testing.M) {
	if err := rig.InstallNPM("."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Vite's development server and what it builds show the count and the news, in plain JavaScript, React and Vue.
func TestBundled(t *testing.T) {
	chrome := chromium.Start(t)
	packed := pack(t)
	for _, recipe := range []string{"Vite", "React", "Vue"} {
		server := rig.Start(t, "-token", "secret")
		dir := project(t, recipe, packed, server.URL)
		t.Run(recipe, func(t *testing.T) {
			counts(t, chrome, vite(t, dir), server)
		})
		t.Run(recipe+", built", func(t *testing.T) {
			if out, err := exec.Command("node", bin(dir, "vite"), "build", dir, "--logLevel", "warn").CombinedOutput(); err != nil {
				t.Fatalf("vite build: %v\n%s", err, out)
			}
			counts(t, chrome, vite(t, dir, "preview"), server)
		})
	}
}

// Pages without a build step do, behind a proxy that strips /live/.
func TestUnbundled(t *testing.T) {
	chrome := chromium.Start(t)
	packed := pack(t)
	for _, recipe := range []string{"A plain module", "htmx"} {
		t.Run(recipe, func(t *testing.T) {
			server := rig.Start(t, "-token", "secret")
			dir := project(t, recipe, packed, server.URL)
			if err := os.WriteFile(filepath.Join(dir, "news.html"), []byte("hello"), 0o644); err != nil {
				t.Fatal(err)
			}
			counts(t, chrome, behindProxy(t, dir, server.URL), server)
		})
	}
}

// The types accept the recipe, and refuse a name that is misspelt, other data, and a reserved event with other data.
func TestTypes(t *testing.T) {
	dir := project(t, "TypeScript", pack(t), "")
	file := filepath.Join(dir, "main.ts")
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	misspelt := "socket.on('nwes', (news) => console.log(news.title))"
	for _, row := range []struct{ name, more, want string }{
		{"as it is", "", ""},
		{"misspelt", misspelt, "nwes"},
		{"other data", "socket.on('load', (load: string) => console.log(load))", "string"},
		{"reserved", "socket.on('user count', (users: string) => console.log(users))", "string"},
		{"any name without types", "io().on('nwes', (news) => console.log(news.title))", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(string(source)+row.more+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("node", bin(dir, "tsc"), "-p", dir).CombinedOutput()
			if ok := err == nil; ok != (row.want == "") || !strings.Contains(string(out), row.want) {
				t.Errorf("tsc: %v\n%s\nwant %q in it", err, out, row.want)
			}
		})
	}
	if !strings.Contains(string(source), "// "+misspelt) {
		t.Error("the recipe does not show what does not compile")
	}
}

// counts opens the page twice, emits, and closes one: each shows the right count and the news.
func counts(t *testing.T, chrome context.Context, url string, server *rig.Server) {
	t.Helper()
	first := open(t, chrome, url)
	first.shows(t, "users", "1")
	second := open(t, chrome, url)
	second.shows(t, "users", "2")
	first.shows(t, "users", "2")
	emit(t, server, "hello")
	first.shows(t, "news", "hello")
	second.shows(t, "news", "hello")
	if got := server.Count("lobby"); got != 2 {
		t.Errorf("the server counts %d, want 2", got)
	}
	second.close(t)
	first.shows(t, "users", "1")
	first.close(t)
	rig.Wait(t, 15*time.Second, "nobody left", func() bool { return server.Count("lobby") == 0 })
}

func emit(t *testing.T, server *rig.Server, text string) {
	t.Helper()
	form := url.Values{"event": {"news"}, "data": {text}}
	req, err := http.NewRequest(http.MethodPost, server.URL+"/emit", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer secret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("emit: got %s, want 200", resp.Status)
	}
}

// tab is a page in the browser.
type tab struct{ ctx context.Context }

func open(t *testing.T, chrome context.Context, url string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(chrome)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatalf("open %s: %v", url, err)
	}
	return &tab{ctx}
}

// shows waits until an element has this text.
func (tb *tab) shows(t *testing.T, id, want string) {
	t.Helper()
	var got string
	defer func() {
		if t.Failed() {
			t.Logf("#%s is %q", id, got)
		}
	}()
	rig.Wait(t, 20*time.Second, fmt.Sprintf("%q in #%s", want, id), func() bool {
		var err error
		got, err = chromedp.Run(tb.ctx, chromedp.Evaluate[string](fmt.Sprintf("document.getElementById(%q)?.textContent ?? 'not there'", id)))
		return err == nil && got == want
	})
}

func (tb *tab) close(t *testing.T) {
	t.Helper()
	if _, err := chromedp.Call(tb.ctx, page.Close, cdp.Empty{}); err != nil {
		t.Fatalf("close page: %v", err)
	}
}

// vite starts vite's development server, or another of its commands, and returns its address.
func vite(t *testing.T, dir string, command ...string) string {
	t.Helper()
	addr := rig.FreeAddr(t)
	host, port, _ := strings.Cut(addr, ":")
	args := append([]string{bin(dir, "vite")}, command...)
	cmd := exec.Command("node", append(args, dir, "--host", host, "--port", port, "--strictPort")...)
	cmd.Dir = dir
	var log rig.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start vite: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("vite:\n%s", log.String())
		}
	})
	rig.Wait(t, 60*time.Second, "vite", func() bool {
		resp, err := http.Get("http://" + addr)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return "http://" + addr + "/"
}

// behindProxy serves the files of a directory, and the server below /live/.
func behindProxy(t *testing.T, dir, server string) string {
	t.Helper()
	origin, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(dir)))
	mux.Handle("/live/", http.StripPrefix("/live", &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(origin)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}))
	front := httptest.NewServer(mux)
	t.Cleanup(front.Close)
	return front.URL + "/"
}
