package admin_test

import (
	"strings"
	"testing"
)

// The admin listener refuses pages of other sites, and names that may belong to strangers.
func TestAdminAccess(t *testing.T) {
	inBubble(t, options{Name: "ops.example.com"}, func(t *testing.T, b, _ *rig) {
		admin := b.admin
		for _, tt := range []struct {
			path   string
			header string // name, value, …
			code   int
		}{
			{"/stats", "Host localhost:8081", 200},
			{"/stats", "Host LOCALHOST.:8081", 200},
			{"/stats", "Host a.localhost", 200},
			{"/stats", "Host [::1]:8081", 200},
			{"/stats", "Host 192.0.2.1", 200},
			{"/stats", "Host headcount:8081", 200},
			{"/stats", "Host Ops.example.com:8081", 200},
			{"/stats", "Host evil.test:8081", 403},
			{"/stats", "Host 127.0.0.1.evil.test:8081", 403},
			{"/stats", "Host localhost.evil.test", 403},
			{"/", "Host evil.test", 403},
			{"/stats/events", "Host evil.test", 403},
			{"/debug/pprof/cmdline", "Host evil.test", 403},
			{"/assets/none", "Host evil.test", 403},
			{"/metrics", "Host prometheus.example.com", 200},
			{"/stats", "Sec-Fetch-Site none Sec-Fetch-Mode navigate", 200},
			{"/stats", "Sec-Fetch-Site same-origin", 200},
			{"/stats", "Sec-Fetch-Site cross-site Sec-Fetch-Mode no-cors", 403},
			{"/stats", "Sec-Fetch-Site same-site Sec-Fetch-Mode cors Origin http://127.0.0.1:8080", 403},
			{"/stats", "Sec-Fetch-Site cross-site Sec-Fetch-Mode navigate Sec-Fetch-Dest document", 200},
			{"/stats", "Sec-Fetch-Site cross-site Sec-Fetch-Mode navigate Sec-Fetch-Dest iframe", 403},
			{"/debug/pprof/cmdline", "Sec-Fetch-Site cross-site Sec-Fetch-Mode navigate Sec-Fetch-Dest document", 403},
			{"/debug/pprof/cmdline", "Sec-Fetch-Site cross-site Sec-Fetch-Mode no-cors Sec-Fetch-Dest image", 403},
			{"/metrics", "Sec-Fetch-Site cross-site", 403},
			{"/stats/events", "Origin https://evil.test", 403},
			{"/stats", "Origin https://evil.test", 403},
			{"/stats", "Origin null", 403},
			{"/stats", "Origin http://127.0.0.1:8081", 200},
		} {
			w := askAdmin(admin, tt.path, strings.Fields(tt.header)...)
			if w.Code != tt.code || w.Header().Get("Cross-Origin-Resource-Policy") != "same-origin" || w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s with %s: got %d %v, want %d", tt.path, tt.header, w.Code, w.Header(), tt.code)
			}
		}
		if w := askAdmin(admin, "/metrics"); strings.Contains(w.Body.String(), `headcount_requests_refused_total{reason="origin"`) {
			t.Error("what the admin listener refuses is counted as refused by the public one")
		}
	})
}
