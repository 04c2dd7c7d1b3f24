package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"headcount/internal/sse"
)

// maxIDs is how many client ids a request may name.
const maxIDs = 100

// users is the body of POST /alive and POST /leave.
type users struct {
	Room  string   `json:"room"`
	IDs   []string `json:"ids"`
	Grace float64  `json:"grace"` // of a goodbye, in seconds; a user that reconnects within it stays counted
}

// maxGrace is the longest grace period of a goodbye, in seconds.
const maxGrace = 5

// alive serves POST /alive.
func (h *Handler) alive(w http.ResponseWriter, r *http.Request) error {
	u, err := h.readUsers(w, r)
	if err != nil {
		return err
	}
	if user := h.user(r); user != "" {
		u.IDs = []string{user}
	}
	if err := h.engine.Renew(r.Context(), h.address(r), u.Room, u.IDs); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// leave serves POST /leave.
func (h *Handler) leave(w http.ResponseWriter, r *http.Request) error {
	u, err := h.readUsers(w, r)
	if err != nil {
		return err
	}
	// A tab that closes says nothing about the other tabs of a named user.
	if h.user(r) == "" {
		if err := h.engine.Leave(u.Room, u.IDs, time.Duration(u.Grace*float64(time.Second))); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readUsers reads the users that a request may act for. It reads JSON with any content type, because sendBeacon sends
// text/plain.
func (h *Handler) readUsers(w http.ResponseWriter, r *http.Request) (u users, err error) {
	h.opt.Origins.Greet(w.Header(), r)
	body, err := readBody(w, r, maxBody)
	if err != nil {
		return u, err
	}
	if err := json.Unmarshal(body, &u); err != nil {
		return u, BadRequest(fmt.Errorf(`body is not {"room":"…","ids":["…"]}: %w`, err))
	}
	if u.Room == "" {
		u.Room = DefaultRoom
	}
	if err := sse.CheckRoom(u.Room); err != nil {
		return u, BadRequest(err)
	}
	if len(u.IDs) == 0 || len(u.IDs) > maxIDs {
		return u, BadRequest(fmt.Errorf("ids has %d entries; send 1 to %d", len(u.IDs), maxIDs))
	}
	if u.Grace < 0 || u.Grace > maxGrace {
		return u, BadRequest(fmt.Errorf("grace is %g; it must be 0 to %d seconds", u.Grace, maxGrace))
	}
	for i, id := range u.IDs {
		if err := sse.CheckClientID(id); err != nil {
			return u, BadRequest(fmt.Errorf("ids[%d]: %w", i, err))
		}
	}
	_, err = h.authorize(w, r, u.Room, "")
	return u, err
}
