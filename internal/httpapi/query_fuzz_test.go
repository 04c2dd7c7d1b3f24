package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"headcount/internal/sse"
)

// FuzzSubscription checks that any query gives a valid subscription or one sentence.
func FuzzSubscription(f *testing.F) {
	for _, q := range []string{
		"", "room=a&id=abcdefgh", "stream=messages", "room=", "room=%00", "room=%ff", "id=short", "id=",
		"id=abcdefgh&poll=1&lastEventId=x.1.x.1", "poll=2", "%", ";", "a=b;c=d", "room=a&room=b&stream=c",
	} {
		f.Add(q, "")
		f.Add(q, "abcdefgh.1.abcd.2")
	}
	f.Fuzz(func(t *testing.T, query, lastEventID string) {
		r := httptest.NewRequest(http.MethodGet, "/events", nil)
		r.URL.RawQuery = query
		if lastEventID != "" {
			r.Header.Set("Last-Event-ID", lastEventID)
		}
		want, err := parseRequest(r)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error is more than a line: %q", err)
			}
			return
		}
		if err := sse.CheckRoom(want.Room); err != nil {
			t.Errorf("got room %q: %v", want.Room, err)
		}
		if err := sse.CheckClientID(want.ClientID); want.ClientID != "" && err != nil {
			t.Errorf("got id %q: %v", want.ClientID, err)
		}
		if !utf8.ValidString(want.Room) {
			t.Errorf("got room %q, want UTF-8", want.Room)
		}
		if lastEventID != "" && want.Cursor != lastEventID {
			t.Errorf("got cursor %q, want the header's %q", want.Cursor, lastEventID)
		}
	})
}
