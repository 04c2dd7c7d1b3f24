package remote_test

import (
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"

	"headcount/client/remote"
	"headcount/client/remote/remotetest"
)

func parse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A password in the URL and a token both reach the server.
func TestCredentials(t *testing.T) {
	tests := []struct{ name, base, token, user, bearer, header string }{
		{"none", "http://headcount.test", "", "", "", ""},
		{"token", "http://headcount.test", "secret", "", "Bearer secret", ""},
		{"password", "http://me:pass@headcount.test", "", "me:pass", "", ""},
		{"both", "http://me:pass@headcount.test", "secret", "me:pass", "", "secret"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := remote.New(parse(t, tt.base), tt.token)
				requests := 0
				stop := remotetest.Start(server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests++
					user, pass, ok := r.BasicAuth()
					if ok {
						user += ":" + pass
					} else if got := r.Header.Get("Authorization"); got != tt.bearer {
						t.Errorf("got Authorization %q, want %q", got, tt.bearer)
					}
					if got := r.Header.Get("Headcount-Token"); user != tt.user || got != tt.header {
						t.Errorf("got user %q, Headcount-Token %q; want %q, %q", user, got, tt.user, tt.header)
					}
				}))
				defer stop()
				if err := server.PostUsers(t.Context(), "alive", "lobby", "someone"); err != nil || requests != 1 {
					t.Errorf("got error %v after %d requests, want none after 1", err, requests)
				}
			})
		})
	}
}

// A server may redirect to another scheme, host or base path, and nowhere else.
func TestFollow(t *testing.T) {
	const base = "http://me:pass@headcount.test/sub"
	tests := []struct{ name, to, want string }{
		{"https", "https://headcount.test/sub/events?room=lobby", "https://me:pass@headcount.test/sub"},
		{"another host knows no password", "https://www.headcount.test/events", "https://www.headcount.test"},
		{"another path", "http://headcount.test/live/sub/events", "http://me:pass@headcount.test/live/sub"},
		{"a login page", "https://headcount.test/login", base},
		{"the same", "http://headcount.test/sub/events?again=1", base},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := remote.New(parse(t, base), "")
			followed := s.Follow(parse(t, "http://headcount.test/sub/events?room=lobby"), parse(t, tt.to))
			if got := s.Base().String(); got != tt.want || followed != (tt.want != base) {
				t.Errorf("got %s, followed %v; want %s", got, followed, tt.want)
			}
			if s.Reset(); s.Base().String() != base {
				t.Errorf("got %s after Reset, want the address that the user gave", s.Base())
			}
		})
	}
}
