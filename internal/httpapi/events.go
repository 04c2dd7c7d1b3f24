package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"headcount/internal/engine"
	"headcount/internal/wire"
)

// events serves GET and HEAD /events.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) error {
	if err := h.allowOrigin(w, r); err != nil {
		return err
	}
	want, err := parseRequest(r)
	if err != nil {
		return err
	}
	if want.Until, err = h.authorize(w, r, want.Room, ""); err != nil {
		return err
	}
	want.Address = h.address(r)
	want.User = h.user(r)
	SetStreamHeader(w.Header())
	switch {
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusOK)
		return nil
	case want.Poll:
		return h.poll(w, r, want)
	}
	return h.stream(w, r, want)
}

// SetStreamHeader sets the header of a stream.
func SetStreamHeader(h http.Header) {
	h.Set("Content-Type", "text/event-stream") // bare, see docs/decisions/0033
	// Each of these makes some proxy pass the stream on without a delay. no-transform stops compression, no-store stops
	// Varnish from sharing the stream, and nginx obeys X-Accel-Buffering.
	h.Set("Cache-Control", "no-cache, no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
}

// stream serves a subscriber until either side ends the stream. If the engine can take over the connection, it is taken
// from net/http and the handler returns.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, want engine.Request) error {
	inner := Innermost(w)
	takeOver := h.engine.CanTakeOver()
	if obstacle := wire.Detachable(r.ProtoMajor, r.TLS); takeOver && obstacle != "" {
		h.opt.Observer.Kept(string(obstacle))
		takeOver = false
	}
	takeOver = takeOver && canHijack(inner)
	if !takeOver && !canFlush(inner) {
		return Refuse(http.StatusInternalServerError, "middleware",
			"%T hides http.Flusher and http.Hijacker, so nothing can be streamed; mount headcount outside of that middleware, or poll with ?poll=1", inner)
	}
	st, err := h.engine.Subscribe(r.Context(), want)
	if err != nil {
		return err
	}
	if takeOver {
		return h.handOver(w, r, st)
	}
	defer st.Close(wire.Gone) // if a panic ends the request
	out, done := StreamWriter(inner, r)
	defer done()
	st.Serve(r.Context(), out)
	return nil
}

// handOver takes the connection away from net/http and gives it to the engine.
func (h *Handler) handOver(w http.ResponseWriter, r *http.Request, st *engine.Stream) error {
	chunked := r.ProtoAtLeast(1, 1)
	header := header(w.Header(), chunked)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		st.Close(wire.Gone)
		return fmt.Errorf("hijack connection: %w", err)
	}
	if err := st.HandOver(conn, header, chunked); err != nil {
		st.Close(wire.Gone)
		h.errors.WriteConn(conn, err) // there is no other way to respond
	}
	return nil
}

// header returns the response header in the form that net/http would send.
func header(h http.Header, chunked bool) []byte {
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	// The connection ends with the stream.
	h.Set("Connection", "close")
	h.Del("Content-Encoding") // a middleware may have set it
	b := bytes.NewBuffer(make([]byte, 0, 320))
	if chunked {
		b.WriteString("HTTP/1.1 200 OK\r\n")
		h.Set("Transfer-Encoding", "chunked")
	} else {
		b.WriteString("HTTP/1.0 200 OK\r\n")
	}
	_ = h.Write(b) // a buffer never fails
	b.WriteString("\r\n")
	return b.Bytes()
}

// poll serves GET /events?poll=1.
func (h *Handler) poll(w http.ResponseWriter, r *http.Request, want engine.Request) error {
	// Some filters refuse or hold back event streams. They recognize them by the content type.
	if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
	}
	st, err := h.engine.Subscribe(r.Context(), want)
	if err != nil {
		return err
	}
	written := false
	defer func() { st.Answered(written) }() // even if a panic ends the request
	body, ok := st.Poll(r.Context())
	if !ok {
		return nil // the client has gone
	}
	defer answerBy(w, r, time.Now().Add(answerTime))()
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, err = w.Write(body)
	written = err == nil
	return nil
}
