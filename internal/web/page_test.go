package web

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
)

// newPagesServer serves pages alone, as the server mounts them.
func newPagesServer(t *testing.T, cfg pageConfig) (http.Handler, *pages) {
	t.Helper()
	if cfg.Count == nil {
		cfg.Count = func(string) int { return 3 }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p, err := newPages(cfg)
	if err != nil {
		t.Fatalf("new pages: %v", err)
	}
	e := echo.New()
	e.GET("/", p.home)
	e.GET("/assets/*", p.asset)
	e.HEAD("/assets/*", p.asset)
	e.GET("/socket.io/socket.io.js", p.client)
	return e, p
}

func get(h http.Handler, url string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHome(t *testing.T) {
	now := time.Unix(1_000_000_002, 500e6)
	h, p := newPagesServer(t, pageConfig{Now: func() time.Time { return now }})
	p.counted("lobby", 7)
	p.counted("lobby", 3)
	w := get(h, "/")
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	for _, want := range []string{
		`data-room="lobby" data-digits="1">3</span>`, `<title>(3) lobby · headcount</title>`, `<span id="noun">users</span>`,
		`data-points="[[7,3]]" data-into="2500"`, `<b id="peak">7</b>`, `const socket = io();`, `curl -N 'http://example.com/events'`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page has no %s", want)
		}
	}
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	// The policy would forbid them, and the page would be broken.
	for _, inline := range []string{`<style`, ` style=`, ` onclick=`, `<script>`} {
		if strings.Contains(w.Body.String(), inline) {
			t.Errorf("the page has %s inline", inline)
		}
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "private, no-cache",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestHomeOfRoom(t *testing.T) {
	h, _ := newPagesServer(t, pageConfig{})
	tests := []struct {
		query string
		code  int
		want  string // in the page or the error
	}{
		{"?room=news", 200, `io({ room: &#39;news&#39; })`},
		{"?room=news", 200, `curl -N 'http://example.com/events?room=news'`},
		{"?room=%3Cscript%3E%27", 200, `<bdi>&lt;script&gt;&#39;</bdi>`},
		{"?room=%3Cscript%3E%27", 200, `io({ room: &#39;&lt;script&gt;\&#39;&#39; })`},
		{"?room=%3Cscript%3E%27", 200, `events?room=%3Cscript%3E%27'`},
		{"?room=a%26b", 200, `href="./?room=a%26b"`},
		{"?room=", 400, "room"},
		{"?room=%00", 400, "control character"},
		{"?room=%ff", 400, "UTF-8"},
		{"?room=" + strings.Repeat("x", 129), 400, "129 bytes"},
		{"?room=%zz", 400, "query"},
	}
	for _, test := range tests {
		t.Run(test.query, func(t *testing.T) {
			w := get(h, "/"+test.query)
			if w.Code != test.code || !strings.Contains(w.Body.String(), test.want) {
				t.Errorf("got %d without %s:\n%s", w.Code, test.want, w.Body)
			}
		})
	}
}

// A page must not be rebuilt from parts that another version of the server had.
func TestHomeNamesAssetsByHash(t *testing.T) {
	h, _ := newPagesServer(t, pageConfig{})
	head, _, _ := strings.Cut(get(h, "/").Body.String(), "<body>")
	urls := regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"`).FindAllStringSubmatch(head, -1)
	if len(urls) != 5 {
		t.Errorf("the page loads %d assets, want 5: %v", len(urls), urls)
	}
	for _, u := range urls {
		w := get(h, "/"+u[1])
		if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("%s: status %d, Cache-Control %q", u[1], w.Code, w.Header().Get("Cache-Control"))
		}
	}
}

func TestAsset(t *testing.T) {
	h, p := newPagesServer(t, pageConfig{})
	hashed, err := p.assets.url("style.css")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path         string
		code         int
		kind, cached string
		forAll       bool
	}{
		{"/assets/io.js", 200, "text/javascript; charset=utf-8", "no-cache", true},
		{"/socket.io/socket.io.js", 200, "text/javascript; charset=utf-8", "no-cache", true},
		{"/assets/io.mjs", 200, "text/javascript; charset=utf-8", "no-cache", true},
		{"/assets/io.d.mts", 200, "text/plain; charset=utf-8", "no-cache", true},
		{"/" + hashed, 200, "text/css; charset=utf-8", "public, max-age=31536000, immutable", false},
		{"/assets/style.css", 404, "", "", false},
		{"/assets/io.0000000000000000.js", 404, "", "", false},
		{"/assets/", 404, "", "", false},
		{"/assets/assets.go", 404, "", "", false},
		{"/assets/src/io.mjs", 404, "", "", false},
		{"/assets/../go.mod", 404, "", "", false},
		{"/assets/%2e%2e/go.mod", 404, "", "", false},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			w := get(h, test.path)
			if w.Code != test.code {
				t.Fatalf("status %d, want %d", w.Code, test.code)
			}
			if test.code != http.StatusOK {
				return
			}
			if got := w.Header().Get("Content-Type"); got != test.kind {
				t.Errorf("type %q, want %q", got, test.kind)
			}
			if got := w.Header().Get("Cache-Control"); got != test.cached {
				t.Errorf("Cache-Control %q, want %q", got, test.cached)
			}
			if got := w.Header().Get("Access-Control-Allow-Origin") == "*"; got != test.forAll {
				t.Errorf("for other sites: %v, want %v", got, test.forAll)
			}

			plainTag := w.Header().Get("ETag")
			zipped := get(h, test.path, "Accept-Encoding", "br, gzip")
			if zipped.Header().Get("Content-Encoding") != "gzip" || zipped.Header().Get("Vary") != "Accept-Encoding" {
				t.Fatalf("asked for gzip, got headers %v", zipped.Header())
			}
			r, err := gzip.NewReader(zipped.Body)
			if err != nil {
				t.Fatal(err)
			}
			if content, err := io.ReadAll(r); err != nil || !bytes.Equal(content, w.Body.Bytes()) {
				t.Errorf("gzipped content differs: %v", err)
			}
			if zipped.Header().Get("ETag") == plainTag {
				t.Error("both encodings have one ETag")
			}
			if none := get(h, test.path, "Accept-Encoding", "gzip;q=0"); none.Header().Get("Content-Encoding") != "" {
				t.Error("gzip although it is refused")
			}
			for _, tag := range []string{plainTag, "W/" + plainTag, `"other", ` + plainTag, "*"} {
				if again := get(h, test.path, "If-None-Match", tag); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
					t.Errorf("If-None-Match %s: status %d, %d bytes", tag, again.Code, again.Body.Len())
				}
			}
			if other := get(h, test.path, "If-None-Match", `"other"`); other.Code != http.StatusOK {
				t.Errorf("If-None-Match of something else: status %d", other.Code)
			}
		})
	}
}

func TestDevReadsFromDisk(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if _, err := newPages(pageConfig{Dev: true, Now: time.Now}); err == nil || !strings.Contains(err.Error(), "no directory assets here") {
		t.Errorf("dev without directories: %v", err)
	}
	for _, err := range []error{
		os.CopyFS("assets", os.DirFS(filepath.Join(root, "assets"))),
		os.CopyFS("templates", os.DirFS(filepath.Join(root, "templates"))),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	h, _ := newPagesServer(t, pageConfig{Dev: true})
	if body := get(h, "/").Body.String(); !strings.Contains(body, `"assets/style.css"`) {
		t.Errorf("the page names assets by hash:\n%s", body)
	}
	err = errors.Join(
		os.WriteFile("assets/style.css", []byte("changed {}"), 0o644),
		os.WriteFile("templates/home.html", []byte("changed {{.Users}}"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	if got := get(h, "/").Body.String(); got != "changed 3" {
		t.Errorf("the page is %q", got)
	}
	w := get(h, "/assets/style.css")
	if got := w.Body.String(); got != "changed {}" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the style is %q, Cache-Control %q", got, w.Header().Get("Cache-Control"))
	}
}
