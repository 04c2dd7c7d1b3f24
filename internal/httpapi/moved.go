package httpapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"headcount/internal/engine"
	"headcount/internal/sse"
)

// Moved makes next respond to the requests that came too late for the engine, because another process has taken over.
// Nothing has been written to them, and their bodies are complete. Call it before [engine.Engine.Release].
func (h *Handler) Moved(next http.Handler) { h.next.Store(&next) }

// moved responds to a request if err says that the engine has moved. It reports whether it has done so.
func (h *Handler) moved(w http.ResponseWriter, r *http.Request, err error) bool {
	next := h.next.Load()
	if next == nil || !errors.Is(err, engine.ErrMoved) {
		return false
	}
	(*next).ServeHTTP(w, r)
	return true
}

// keepBody lets another handler read the body again.
func keepBody(r *http.Request, body []byte) { r.Body = io.NopCloser(bytes.NewReader(body)) }

// returnTime is after what time the client of a stream that ends at once reconnects.
const returnTime = 100 * time.Millisecond

// Brief prepares a request for the process that takes over from this one. A stream is ended at once here, and its
// client reconnects to the next process. A poll does not wait. Brief reports whether it has responded.
func Brief(w http.ResponseWriter, r *http.Request) (done bool) {
	if !strings.HasSuffix(r.URL.Path, "/events") {
		return false
	}
	want, err := parseRequest(r)
	switch {
	case err != nil: // the next process says what is wrong
		return false
	case want.Poll:
		r.RequestURI += "&wait=0"
		return false
	case r.Method != http.MethodGet:
		return false
	}
	SetStreamHeader(w.Header())
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(append(sse.AppendRetry(nil, returnTime), '\n')) // the client may have gone
	return true
}
