package page_test

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"headcount/internal/bubble"
	"headcount/internal/httpapi"
	"headcount/internal/page"
)

// newPagesServer serves only the pages, as the server mounts them.
func newPagesServer(t *testing.T, cfg page.Options) (http.Handler, *page.Pages) {
	t.Helper()
	if cfg.Count == nil {
		cfg.Count = func(string) int { return 3 }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p, err := page.New(cfg)
	if err != nil {
		t.Fatalf("new pages: %v", err)
	}
	errors := httpapi.Errors{Log: slog.New(slog.DiscardHandler)}
	mux := http.NewServeMux()
	mux.Handle("/", errors.Handle(p.Home))
	mux.Handle("/assets/", errors.Handle(func(w http.ResponseWriter, r *http.Request) error {
		return p.Asset(w, r, strings.TrimPrefix(r.URL.Path, "/assets/"))
	}))
	mux.Handle("/docs/", errors.Handle(func(w http.ResponseWriter, r *http.Request) error {
		return p.Docs(w, r, strings.TrimPrefix(r.URL.Path, "/docs/"))
	}))
	mux.Handle("/socket.io/socket.io.js", errors.Handle(p.Client))
	return mux, p
}

func TestHome(t *testing.T) {
	now := time.Unix(1_000_000_002, 500e6)
	h, p := newPagesServer(t, page.Options{Now: func() time.Time { return now }})
	p.Counted("lobby", 7)
	p.Counted("lobby", 3)
	w := bubble.Get(h, "/")
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
	// The policy forbids these, so they would break the page.
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
	h, _ := newPagesServer(t, page.Options{})
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
		{"?room=it%27s+%D7%A9", 200, `--data-urlencode &#39;room=it&#39;\&#39;&#39;s ש&#39;`},
		{"?room=a%26b", 200, `href="./?room=a%26b"`},
		{"?room=", 400, "room"},
		{"?room=%00", 400, "control character"},
		{"?room=%ff", 400, "UTF-8"},
		{"?room=" + strings.Repeat("x", 129), 400, "129 bytes"},
		{"?room=%zz", 400, "query"},
	}
	for _, test := range tests {
		t.Run(test.query, func(t *testing.T) {
			w := bubble.Get(h, "/"+test.query)
			if w.Code != test.code || !strings.Contains(w.Body.String(), test.want) {
				t.Errorf("got %d without %s:\n%s", w.Code, test.want, w.Body)
			}
		})
	}
}

// A page must not be combined from parts of different versions of the server.
func TestHomeNamesAssetsByHash(t *testing.T) {
	h, _ := newPagesServer(t, page.Options{})
	head, _, _ := strings.Cut(bubble.Get(h, "/").Body.String(), "<body>")
	urls := regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"`).FindAllStringSubmatch(head, -1)
	if len(urls) != 5 {
		t.Errorf("the page loads %d assets, want 5: %v", len(urls), urls)
	}
	for _, u := range urls {
		w := bubble.Get(h, "/"+u[1])
		if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("%s: status %d, Cache-Control %q", u[1], w.Code, w.Header().Get("Cache-Control"))
		}
	}
}

func TestDevReadsFromDisk(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if _, err := page.New(page.Options{Dev: true, Now: time.Now}); err == nil || !strings.Contains(err.Error(), "no directory assets here") {
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
	h, _ := newPagesServer(t, page.Options{Dev: true})
	if body := bubble.Get(h, "/").Body.String(); !strings.Contains(body, `"assets/style.css"`) {
		t.Errorf("the page names assets by hash:\n%s", body)
	}
	err = errors.Join(
		os.WriteFile("assets/style.css", []byte("changed {}"), 0o644),
		os.WriteFile("templates/home.html", []byte("changed {{.Users}}"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	if got := bubble.Get(h, "/").Body.String(); got != "changed 3" {
		t.Errorf("the page is %q", got)
	}
	w := bubble.Get(h, "/assets/style.css")
	if got := w.Body.String(); got != "changed {}" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the style is %q, Cache-Control %q", got, w.Header().Get("Cache-Control"))
	}
}
