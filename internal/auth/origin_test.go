package auth_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode"

	"headcount/internal/auth"
)

// An origin that no browser sends is refused with a reason.
func TestOriginsThatMatchNothing(t *testing.T) {
	for list, want := range map[string]string{
		"https://example.com:443":     "omit the port",
		"http://example.com:80":       "omit the port",
		"https://example.com:0443":    "no such port",
		"https://example.com:65536":   "no such port",
		"https://example.com:":        "no such port",
		"https://a.*.example.com":     "use https://*.example.com, or * for any origin",
		"https://*example.com":        "use https://*.example.com, or * for any origin",
		"https://a.test, https://*":   "use https://*.example.com, or * for any origin",
		"https://*.com":               "longer name",
		"https://*.example.com:443":   "omit the port",
		"https://[2001:db8:0:0:0::1]": "as 2001:db8::1",
		"https://example.com/":        "is not an origin",
		"example.com":                 "is not an origin",
		"none":                        "is not an origin",
	} {
		if _, err := auth.ParseOrigins(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want something with %q", list, err, want)
		}
	}
	for list, want := range map[string]string{
		"": "", "*": "*", "HTTPS://Example.com": "https://example.com", " http://a:8080 ,, https://[2001:db8::1]:8443": "http://a:8080 https://[2001:db8::1]:8443",
		"https://example.com:80": "https://example.com:80", "capacitor://localhost": "capacitor://localhost",
		"null, https://*.Example.com": "null https://*.example.com", "http://*.localhost:8080": "http://*.localhost:8080",
	} {
		if got, err := auth.ParseOrigins(list); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, %v, want %s", list, got, err, want)
		}
	}
}

// A wildcard matches every name below a domain. "null" allows pages without an origin, but never a token in a cookie.
func TestOriginsThatMatch(t *testing.T) {
	origins, err := auth.ParseOrigins("https://*.example.com, http://*.b.test:8080, null")
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{
		"https://a.example.com": true, "https://a.b.example.com": true, "http://a.b.test:8080": true, "null": true,
		"https://example.com": false, "https://.example.com": false, "http://a.example.com": false, "https://a.example.com:8443": false,
		"https://aexample.com": false, "https://a.example.com.evil.test": false, "https://evil.test/.example.com": false,
		"https://evil.test@a.example.com": false, "https://a.test:1.example.com": false, "http://a.b.test": false,
	} {
		r := httptest.NewRequest("GET", "http://headcount.test/", nil)
		r.Header.Set("Origin", origin)
		header := make(http.Header)
		if got := origins.Greet(header, r); got != want {
			t.Errorf("%s: got %v, want %v", origin, got, want)
		}
		if got := header.Get("Access-Control-Allow-Origin"); want && got != origin {
			t.Errorf("%s: the answer is for %q", origin, got)
		}
		r.AddCookie(&http.Cookie{Name: "headcount_token", Value: "secret"})
		policy := auth.Policy{Token: "secret", Private: []string{"*"}, Origins: origins}
		if _, err := policy.Authorize(r, "private", ""); (err == nil) != (want && origin != "null") {
			t.Errorf("%s: with the cookie: got %v", origin, err)
		}
	}
}

// The page shows the address that its browser used, with any proxy in front.
func TestPublicOrigin(t *testing.T) {
	for _, row := range []struct{ name, url, proto, host, want string }{
		{"direct", "http://a.test:8080/", "", "", "http://a.test:8080"},
		{"direct, TLS", "https://a.test/", "", "", "https://a.test"},
		{"TLS in front", "http://127.0.0.1:8080/", "https", "a.test", "https://a.test"},
		{"lists", "http://127.0.0.1:8080/", "https,http", "a.test, b.test", "https://a.test"},
		{"plain in front of TLS", "https://127.0.0.1:8080/", "http , https", "a.test:8000", "http://a.test:8000"},
		{"nothing in it", "http://a.test/", ",https", ",b.test", "http://a.test"},
		{"IPv6", "http://127.0.0.1/", "", "[2001:db8::1]:80", "http://[2001:db8::1]:80"},
		{"no host", "http://a.test/", "", "x' -o /etc/passwd '", "http://a.test"},
		{"no port", "http://a.test/", "", "b.test:x", "http://a.test"},
	} {
		r := httptest.NewRequest("GET", row.url, nil)
		r.Header.Set("X-Forwarded-Proto", row.proto)
		r.Header.Set("X-Forwarded-Host", row.host)
		if got := auth.PublicOrigin(r); got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

// FuzzOrigins checks that every accepted origin has the form that browsers send, or is "*", and is valid in a header.
func FuzzOrigins(f *testing.F) {
	for _, list := range []string{
		"", "*", "https://example.com", "https://example.com, http://a:80", "https://example.com/", "https://u@example.com", "null", "//a", "https://a\r\nX: y", "https://[::1]:8080",
		"https://a?b", "https://a#b", "https://*.a", " , ", "https://\u00e9.com", "HTTPS://A.COM", "https://a b", "https://a:443", "https://a:0443", "https://a:", "https://[::01]", "https://:80", "javascript://a", "a://\u008d",
	} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		origins, err := auth.ParseOrigins(list)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error is more than a line: %q", err)
			}
			return
		}
		for _, o := range origins {
			if o == "*" || o == "null" {
				continue
			}
			u, err := url.Parse(strings.Replace(o, "://*.", "://a.", 1))
			if err != nil || u.Hostname() == "" || u.User != nil || u.Path+u.RawQuery+u.Fragment != "" {
				t.Errorf("%q is taken for an origin: %v", o, err)
			}
			if strings.ContainsFunc(o, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == ',' }) {
				t.Errorf("origin %q cannot go into a header", o)
			}
		}
	})
}
