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

// ErrUnauthenticated is for Options.Authorize: the request does not say who it is from. Any
// other error means that it may not do that.
var ErrUnauthenticated = errors.New("send a token, as Authorization: Bearer TOKEN")

// Error is an answer with an error status.
type Error struct {
	Status    int
	Reason    string // for metrics
	Sentence  string // says what to do
	Challenge string // WWW-Authenticate, "" = none
}

func (e *Error) Error() string { return e.Sentence }

// Refuse returns an error with a status and a sentence that says what to do.
func Refuse(status int, reason, format string, args ...any) error {
	return &Error{Status: status, Reason: reason, Sentence: fmt.Sprintf(format, args...)}
}

// BadRequest returns an error for a request that is wrong.
func BadRequest(err error) error { return Refuse(http.StatusBadRequest, "bad_request", "%v", err) }

// NotFound returns an error for a path at which there is nothing.
func NotFound(sentence string) error {
	return Refuse(http.StatusNotFound, "no_such_route", "%s", sentence)
}

// Allow refuses methods other than those.
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

// forbidden is an error of Options.Authorize.
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

// InternalError is all that strangers are told of one.
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

// answerOf returns what is answered to an error. This is the one place where errors become answers.
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

// connTime is how long an answer on a hijacked connection may take.
const connTime = time.Second

// Errors answers the errors of handlers.
type Errors struct {
	Log     *slog.Logger
	Refused func(reason string, status int) // is told of each; nil = nobody
	// Page shows an error to a person whose browser asked for a page. nil: errors are JSON for everybody.
	Page func(w http.ResponseWriter, r *http.Request, status int, sentence string) error
}

// Handle makes a handler of one that returns an error.
func (e Errors) Handle(serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r); err != nil {
			e.Write(w, r, err)
		}
	}
}

// Write answers with {"error":"…"}. Nothing of the answer may have been written before.
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

// wantsPage reports whether a person follows a link, which their browser says by what it accepts.
func wantsPage(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && Prefers(r, "text/html")
}

// write sets the header of the answer and returns its body.
func (a *Error) write(h http.Header) []byte {
	h.Del("X-Accel-Buffering")
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Expose-Headers", "Retry-After") // or a page of another origin may not read it
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	if a.Challenge != "" {
		h.Set("WWW-Authenticate", a.Challenge)
	}
	if a.Status == http.StatusServiceUnavailable || a.Status == http.StatusTooManyRequests {
		// Random, or all that were refused would come back at once.
		h.Set("Retry-After", strconv.Itoa(1+rand.IntN(5)))
	}
	return fmt.Appendf(nil, "{\"error\":%s}\n", sse.Quote(a.Sentence))
}

// WriteConn answers on a connection that was hijacked, and closes it.
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
