package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"headcount/internal/web"
)

// Whose limit a request counts against: nobody is another one by saying so, unless a trusted proxy says it.
func TestClientAddress(t *testing.T) {
	for _, row := range []struct {
		name, peer, forwarded string // %d is another one each time
		limited               bool
	}{
		{"by itself", "192.0.2.1:1", "", true},
		{"a stranger that says it is others", "192.0.2.1:1", "198.51.100.%d", true},
		{"one of a private network that says so", "10.0.0.5:1", "198.51.100.%d", true},
		{"of a link", "[fe80::1]:1", "198.51.100.%d", true},
		{"many behind a trusted proxy", "127.0.0.1:1", "198.51.100.%d", false},
		{"one behind it that says so", "127.0.0.1:1", "198.51.100.%d, 192.0.2.1", true},
		{"one of a private network behind it", "127.0.0.1:1", "198.51.100.%d, 10.0.0.9", true},
		{"addresses of one IPv6 network", "127.0.0.1:1", "2001:db8::%d", true},
		{"IPv6 networks", "127.0.0.1:1", "2001:db8:0:%d::1", false},
		{"no addresses", "127.0.0.1:1", "nobody-%d", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			app, err := web.New(web.Options{MaxRate: 1, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
			if err != nil {
				t.Fatal(err)
			}
			defer app.Close()
			limited := false
			for n := range 30 {
				req := httptest.NewRequest("POST", "/alive", strings.NewReader(fmt.Sprintf(`{"ids":["made-up-%d"]}`, n)))
				req.RemoteAddr = row.peer
				if row.forwarded != "" {
					req.Header.Set("X-Forwarded-For", strings.ReplaceAll(row.forwarded, "%d", fmt.Sprint(n+1)))
				}
				answer := httptest.NewRecorder()
				app.ServeHTTP(answer, req)
				limited = limited || answer.Code == http.StatusTooManyRequests
			}
			if limited != row.limited {
				t.Errorf("30 users in a second: limited %v, want %v", limited, row.limited)
			}
		})
	}
}
