package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
)

// count serves GET /count. It responds with JSON, or with the bare number if the client prefers text.
func (h *Handler) count(w http.ResponseWriter, r *http.Request) error {
	if err := h.allowOrigin(w, r); err != nil {
		return err
	}
	room, users, err := h.usersOf(w, r)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Add("Vary", "Accept")
	if Prefers(r, "text/plain") {
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		_, _ = w.Write(strconv.AppendInt(nil, int64(users), 10)) // the client may have gone
		return nil
	}
	return WriteJSON(w, struct {
		Room  string `json:"room"`
		Users int    `json:"users"`
	}{room, users})
}

// usersOf returns the room that a request names, and the room's number of users.
func (h *Handler) usersOf(w http.ResponseWriter, r *http.Request) (room string, users int, err error) {
	if room, err = Room(r); err != nil {
		return "", 0, err
	}
	if _, err := h.authorize(w, r, room, ""); err != nil {
		return "", 0, err
	}
	users, err = h.engine.Count(r.Context(), room)
	return room, users, err
}

// badgeSVG is the count as a picture. Its parameters are the total width, the number for screen readers, the width of
// the number's part, the middle of that part, and the number.
const badgeSVG = `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="20" role="img" aria-label="online: %[2]s">` +
	`<title>online: %[2]s</title>` +
	`<clipPath id="r"><rect width="%[1]d" height="20" rx="3"/></clipPath>` +
	`<g clip-path="url(#r)"><rect width="46" height="20" fill="#444"/><rect x="46" width="%[3]d" height="20" fill="#0a7a4b"/></g>` +
	`<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">` +
	`<text x="23" y="14">online</text><text x="%[4]d" y="14">%[2]s</text></g></svg>` + "\n"

// badge serves GET /badge.svg. It responds with the count of a room as a picture that any page may show.
func (h *Handler) badge(w http.ResponseWriter, r *http.Request) error {
	_, n, err := h.usersOf(w, r)
	if err != nil {
		return err
	}
	users := strconv.Itoa(n)
	width := 12 + 7*len(users)
	header := w.Header()
	// Image proxies such as GitHub's cache what they may cache, but a count is outdated at once.
	header.Set("Cache-Control", "no-cache, no-store, max-age=0")
	header.Set("Content-Security-Policy", "default-src 'none'")
	header.Set("Content-Type", "image/svg+xml")
	_, _ = fmt.Fprintf(w, badgeSVG, 46+width, users, width, 46+width/2) // the client may have gone
	return nil
}
