package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"headcount/internal/engine"
)

const maxKey = 256 // bytes of an Idempotency-Key

// emit serves POST /emit.
func (h *Handler) emit(w http.ResponseWriter, r *http.Request) error {
	if h.opt.Authorize == nil {
		return Refuse(http.StatusForbidden, "emit_off", "emit over HTTP is off; set headcount.Options.Authorize to allow it")
	}
	if err := nothingElsewhere(r); err != nil {
		return err
	}
	key := r.Header.Get("Idempotency-Key")
	if len(key) > maxKey {
		return BadRequest(fmt.Errorf("Idempotency-Key is %d bytes long; the limit is %d", len(key), maxKey))
	}
	body, err := readBody(w, r, h.opt.MaxEvent)
	if err != nil {
		return err
	}
	e, err := parseEmission(r.Header.Get("Content-Type"), body)
	if err != nil {
		return BadRequest(err)
	}
	until, err := h.authorize(w, r, *e.Room, e.Event)
	if err != nil {
		return err
	}
	key = scoped(key, until, e)
	id, room, err := h.engine.Emit(r.Context(), engine.Event{Room: *e.Room, Name: e.Event, Data: e.Data, Key: key})
	if err != nil {
		return err
	}
	return WriteJSON(w, struct {
		ID   string `json:"id"`
		Room string `json:"room"`
	}{id, room})
}

// scoped limits an idempotency key of a token to one event in one room, so that the response reveals nothing about
// the events of other tokens. Keys of requests whose permission never ends are used as given.
func scoped(key string, until time.Time, e emission) string {
	if key == "" || until.IsZero() {
		return key
	}
	sum := sha256.Sum256([]byte(*e.Room + "\x00" + e.Event + "\x00" + key))
	return "token-" + hex.EncodeToString(sum[:16])
}

// WriteJSON responds with a JSON value.
func WriteJSON(w http.ResponseWriter, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // the client may have gone
	return nil
}

// nothingElsewhere refuses input that would be ignored or misread. This is a part of the event in the query, a
// compressed body, or a form with attachments.
func nothingElsewhere(r *http.Request) error {
	if q, err := Query(r); err == nil {
		for _, name := range []string{"event", "data", "room", "stream"} {
			if q.Has(name) {
				return BadRequest(fmt.Errorf("%s is in the query; put event, data and room into the body", name))
			}
		}
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return Refuse(http.StatusUnsupportedMediaType, "bad_request", "the body has the content coding %.20q; send it without one", coding)
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); strings.HasPrefix(kind, "multipart/") {
		return Refuse(http.StatusUnsupportedMediaType, "bad_request", "the body is %s; send JSON, or a form as curl -d does: %s", kind, form)
	}
	return nil
}
