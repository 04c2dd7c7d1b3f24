package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"headcount/internal/auth"
	"headcount/internal/engine"
	"headcount/internal/sse"
)

// ErrUnauthenticated is an error that Options.Authorize can return. It means that the request does not say who sent it.
// Any other error means that the request is not allowed.
var ErrUnauthenticated = errors.New("send a token, as Authorization: Bearer TOKEN")

// Error is a response with an error status.
type Error struct {
	Status    int
	Reason    string // for metrics
	Sentence  string // says what the client can do
	Challenge string // WWW-Authenticate, "" = none
}

func (e *Error) Error() string { return e.Sentence }

// Refuse returns an error with a status and a sentence that says what the client can do.
func Refuse(status int, reason, format string, args ...any) error {
	return &Error{Status: status, Reason: reason, Sentence: fmt.Sprintf(format, args...)}
}

// BadRequest returns an error for a malformed request.
func BadRequest(err error) error { return Refuse(http.StatusBadRequest, "bad_request", "%v", err) }

// NotFound returns an error for a path that does not exist.
func NotFound(sentence string) error {
	return Refuse(http.StatusNotFound, "no_such_route", "%s", sentence)
}

// Allow refuses all methods but the given ones.
func Allow(w http.ResponseWriter, r *http.Request, methods ...string) error {
	if slices.Contains(methods, r.Method) {
		return nil
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	are := "is"
	if len(methods) > 1 {
		are = "are"
	}
	return Refuse(http.StatusMethodNotAllowed, "no_such_route", "only %s %s allowed here", strings.Join(methods, " and "), are)
}

// forbidden wraps an error of Options.Authorize.
func forbidden(err error) error {
	var known *auth.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, ErrUnauthenticated):
		return &Error{http.StatusUnauthorized, "token", err.Error(), `Bearer realm="headcount"`}
	}
	return Refuse(http.StatusForbidden, "token", "%v", err)
}

// InternalError is all that a client is told about an internal error.
const InternalError = "internal error; the log of the server has the details"

func statusOf(code engine.Code) int {
	switch code {
	case engine.MaxRate:
		return http.StatusTooManyRequests
	case engine.TooLarge:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusServiceUnavailable
}

// answerOf returns the response to an error. This is the only place where errors become responses.
func answerOf(err error) *Error {
	var known *Error
	var refused *engine.Refusal
	var denied *auth.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &refused):
		return &Error{Status: statusOf(refused.Code), Reason: string(refused.Code), Sentence: refused.Sentence}
	case errors.As(err, &denied):
		return &Error{denied.Status, denied.Reason, denied.Sentence, denied.Challenge}
	}
	return &Error{Status: http.StatusInternalServerError, Reason: "server_error", Sentence: InternalError}
}

// connTime is how long a response on a hijacked connection may take.
const connTime = time.Second

// Errors writes the responses to errors of handlers.
type Errors struct {
	Log     *slog.Logger
	Refused func(reason string, status int) // called for each error response; nil = not called
	// Page shows an error to a browser that requested a page. nil: all errors are JSON.
	Page func(w http.ResponseWriter, r *http.Request, status int, sentence string) error
}

// Handle turns a handler that returns an error into an http.HandlerFunc.
func (e Errors) Handle(serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r); err != nil {
			e.Write(w, r, err)
		}
	}
}

// Write responds with {"error":"…"}. Nothing of the response may have been written before.
func (e Errors) Write(w http.ResponseWriter, r *http.Request, err error) {
	a := answerOf(err)
	if a.Status == http.StatusInternalServerError {
		e.Log.Error("internal error", "path", r.URL.Path, "error", err)
	}
	body := a.write(w.Header())
	switch {
	case e.Page != nil && wantsPage(r):
		if err := e.Page(w, r, a.Status, a.Sentence); err != nil {
			e.Log.Error("internal error", "path", r.URL.Path, "error", err)
		}
	case r.Method == http.MethodHead:
		w.WriteHeader(a.Status)
	default:
		w.WriteHeader(a.Status)
		if _, err := w.Write(body); err != nil {
			e.Log.Debug("answer not sent", "error", err)
		}
	}
	if e.Refused != nil {
		e.Refused(a.Reason, a.Status)
	}
}

// wantsPage reports whether the client is a browser that requested a page, by its Accept header.
func wantsPage(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && Prefers(r, "text/html")
}

// write sets the header of the response and returns its body.
func (a *Error) write(h http.Header) []byte {
	h.Del("X-Accel-Buffering")
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Expose-Headers", "Retry-After") // otherwise a page of another origin may not read it
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	if a.Challenge != "" {
		h.Set("WWW-Authenticate", a.Challenge)
	}
	if a.Status == http.StatusServiceUnavailable || a.Status == http.StatusTooManyRequests {
		// A random time, so that not all refused clients come back at once.
		h.Set("Retry-After", strconv.Itoa(1+rand.IntN(5)))
	}
	return fmt.Appendf(nil, "{\"error\":%s}\n", sse.Quote(a.Sentence))
}

// WriteConn writes the response on a hijacked connection and closes it.
func (e Errors) WriteConn(conn net.Conn, err error) {
	a := answerOf(err)
	header := make(http.Header)
	body := a.write(header)
	header.Set("Connection", "close")
	_ = conn.SetDeadline(time.Now().Add(connTime))
	fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", a.Status, http.StatusText(a.Status), len(body))
	_ = header.Write(conn)
	_, _ = conn.Write(append([]byte("\r\n"), body...))
	_ = conn.Close()
	if e.Refused != nil {
		e.Refused(a.Reason, a.Status)
	}
}
