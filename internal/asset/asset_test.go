package asset_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"headcount/internal/asset"
	"headcount/internal/bubble"
)

func TestAsset(t *testing.T) {
	set, err := asset.New(false)
	if err != nil {
		t.Fatal(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := set.Serve(w, r, strings.TrimPrefix(r.URL.Path, "/assets/")); errors.Is(err, asset.ErrNotFound) {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	hashed, err := set.URL("style.css")
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
			w := bubble.Get(h, test.path)
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
			zipped := bubble.Get(h, test.path, "Accept-Encoding", "br, gzip")
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
			if none := bubble.Get(h, test.path, "Accept-Encoding", "gzip;q=0"); none.Header().Get("Content-Encoding") != "" {
				t.Error("gzip although it is refused")
			}
			for _, tag := range []string{plainTag, "W/" + plainTag, `"other", ` + plainTag, "*"} {
				if again := bubble.Get(h, test.path, "If-None-Match", tag); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
					t.Errorf("If-None-Match %s: status %d, %d bytes", tag, again.Code, again.Body.Len())
				}
			}
			if other := bubble.Get(h, test.path, "If-None-Match", `"other"`); other.Code != http.StatusOK {
				t.Errorf("If-None-Match of something else: status %d", other.Code)
			}
		})
	}
}
