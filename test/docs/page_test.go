package docs

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"headcount/test/rig"
	"headcount/test/rig/chromium"
)

// The page of README.md, on a host that also has the server, writes the count to the browser's console.
func TestPageOfReadme(t *testing.T) {
	server := rig.Start(t)
	front := httptest.NewServer(withPage(t, server.URL))
	t.Cleanup(front.Close)
	chrome := chromium.Start(t)

	ctx, cancel := chromedp.NewContext(chrome)
	t.Cleanup(cancel)
	script := page.AddScriptToEvaluateOnNewDocumentParams{Source: `window.logged = []; console.log = (line) => logged.push(String(line))`}
	if _, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, script); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(front.URL)); err != nil {
		t.Fatal(err)
	}
	logs := func(want string) {
		t.Helper()
		rig.Wait(t, 10*time.Second, want+" in the console", func() bool {
			last, err := chromedp.Run(ctx, chromedp.Evaluate[string](`logged.at(-1) ?? ''`))
			return err == nil && last == want
		})
	}
	logs("1")
	rig.Subscribe(t, server.URL, "lobby")
	logs("2")
}

// withPage serves the page of README.md at / and the server everywhere else.
func withPage(t *testing.T, server string) http.Handler {
	t.Helper()
	html := ""
	for _, b := range readBlocks(t, "README.md") {
		if b.file == "index.html" {
			html = b.text
		}
	}
	if html == "" {
		t.Fatal("README.md has no block ```html index.html")
	}
	origin, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(html))
	})
	mux.Handle("/", &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(origin)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}})
	return mux
}
