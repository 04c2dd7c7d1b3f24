package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzUsers checks that a body of /alive or /leave affects only the users that it names.
func FuzzUsers(f *testing.F) {
	for _, body := range []string{
		"", "null", "{}", "[]", `{"ids":["bystander"]}`, `{"ids":["stranger1"]}`, `{"room":"a","ids":["bystander"]}`, `{"ids":["stranger1","x"]}`,
		`{"ids":[null]}`, `{"ids":["bystander\u0000"]}`, `{"IDS":["Bystander"]}`, `{"room":"","ids":["stranger1","stranger1"]}`, `{"ids":["stranger1"]} {}`, "\xff",
	} {
		f.Add(body, false)
		f.Add(body, true)
	}
	s := newFuzzed(f, options{Linger: time.Hour})
	f.Fuzz(func(t *testing.T, body string, leave bool) {
		s.do("GET", "/events?poll=1&id=bystander", "")
		if n := s.users("lobby"); n != 1 {
			t.Fatalf("got %d users, want 1", n)
		}
		path := "/alive"
		if leave {
			path = "/leave"
		}
		w := s.do("POST", path, body)
		named := make(map[string]bool) // in the lobby
		if w.Code == http.StatusNoContent {
			var users struct {
				Room string
				IDs  []string
			}
			if err := json.Unmarshal([]byte(body), &users); err != nil {
				t.Fatalf("accepted %q: %v", body, err)
			}
			for _, id := range users.IDs {
				if users.Room == "" || users.Room == "lobby" {
					named[id] = true
				}
			}
		} else {
			wantRefusal(t, w)
		}
		want := 1
		switch {
		case leave && named["bystander"]:
			want = 0
		case !leave:
			named["bystander"] = true
			want = len(named)
		}
		if n := s.users("lobby"); n != want {
			t.Fatalf("POST %s %q: got %d users, want %d", path, body, n, want)
		}
		s.do("POST", "/leave", body)
	})
}

// FuzzAccept checks that GET /count responds with JSON or the bare number, and with the number only if text is
// requested.
func FuzzAccept(f *testing.F) {
	for _, accept := range []string{
		"", "*/*", ",*/*;q=0", "text/plain", "TEXT/*;q=0.5", "text/plain;q=NaN", "text/plain;q=-1", "text/plain;q=1e400", ",", ";", "text/plain;q=0,*/*", `text/plain;a="b,c"`, "text/plain;q=0x1p-2",
	} {
		f.Add(accept)
	}
	s := newFuzzed(f, options{})
	f.Fuzz(func(t *testing.T, accept string) {
		w := s.do("GET", "/count", "", "Accept", accept)
		got := strings.TrimSpace(w.Body.String())
		asked := strings.Contains(strings.ToLower(accept), "text/")
		if w.Code != 200 || got != `{"room":"lobby","users":0}` && (got != "0" || !asked) {
			t.Errorf("Accept %q: got %d %s", accept, w.Code, got)
		}
		if kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";"); (got == "0") != (kind == "text/plain") {
			t.Errorf("Accept %q: got %s as %s", accept, got, kind)
		}
	})
}
