package httpapi

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"headcount/internal/engine"
	"headcount/internal/sse"
)

// DefaultRoom is the room of requests that name no room.
const DefaultRoom = "lobby"

// parseRequest reads a request for a stream.
func parseRequest(r *http.Request) (engine.Request, error) {
	q, err := Query(r)
	if err != nil {
		return engine.Request{}, err
	}
	want := engine.Request{
		ClientID: q.Get("id"), Cursor: r.Header.Get("Last-Event-ID"),
		Proxied: proxied(r), Relayed: relayed(r), Browser: browser(r),
	}
	if want.Cursor == "" {
		want.Cursor = q.Get("lastEventId")
	}
	if want.Room, err = RoomOf(q); err != nil {
		return want, err
	}
	switch q.Get("poll") {
	case "", "0":
	case "1":
		want.Poll = true
	default:
		return want, BadRequest(fmt.Errorf("poll is %.20q; use 1, or omit it", q.Get("poll")))
	}
	switch q.Get("wait") {
	case "":
	case "0":
		want.NoWait = true
	default:
		return want, BadRequest(fmt.Errorf("wait is %.20q; use 0 with poll=1, or omit it", q.Get("wait")))
	}
	if q.Has("id") {
		if err := sse.CheckClientID(want.ClientID); err != nil {
			return want, BadRequest(err)
		}
		return want, nil
	}
	// Only this reveals Node's http-proxy, which never closes a stream. Programs may send it too. The only effect on a
	// client without id is a request to reconnect.
	want.Proxied = want.Proxied || want.Relayed || r.Close
	return want, nil
}

// Query reads the query as browsers do. A semicolon is an ordinary character.
func Query(r *http.Request) (url.Values, error) {
	text := strings.ReplaceAll(r.URL.RawQuery, ";", "%3B")
	if strings.Contains(text, "lastEventId=") {
		text = acceptCursor(text)
	}
	q, err := url.ParseQuery(text)
	if err != nil {
		return nil, BadRequest(fmt.Errorf("malformed query: %w", err))
	}
	return q, nil
}

// acceptCursor escapes a malformed cursor in a query. "malformed … never an error status": such a cursor is accepted as
// it is.
func acceptCursor(query string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		if text, ok := strings.CutPrefix(pair, "lastEventId="); ok {
			if _, err := url.QueryUnescape(text); err != nil {
				pairs[i] = "lastEventId=" + url.QueryEscape(text)
			}
		}
	}
	return strings.Join(pairs, "&")
}

// Room returns the room that a request's query names.
func Room(r *http.Request) (string, error) {
	q, err := Query(r)
	if err != nil {
		return "", err
	}
	return RoomOf(q)
}

// RoomOf returns the room that a query names. The client of github.com/r3labs/sse/v2 names it "stream".
func RoomOf(q url.Values) (string, error) {
	for _, key := range []string{"room", "stream"} {
		if q.Has(key) {
			if err := sse.CheckRoom(q.Get(key)); err != nil {
				return "", BadRequest(err)
			}
			return q.Get(key), nil
		}
	}
	return DefaultRoom, nil
}

// Prefers reports whether the Accept header of a request prefers that content type over JSON. With equal preference the
// one that is named first wins, and JSON wins if neither is named.
func Prefers(r *http.Request, kind string) bool {
	type like struct {
		q  float64
		at int
	}
	likes := make(map[string]like)
	for i, part := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		if err != nil {
			q = 1
		}
		likes[name] = like{q, i}
	}
	// "The most specific reference has precedence": RFC 9110, section 12.5.1.
	best := func(names ...string) (l like) {
		for _, name := range names {
			if l, ok := likes[name]; ok {
				return l
			}
		}
		return l
	}
	text, data := best(kind, "text/*"), best("application/json", "application/*", "*/*")
	return text.q > data.q || text.q == data.q && text.q > 0 && text.at < data.at
}
