package httpapi

import (
	"net/http"
	"strings"
	"time"
)

// answerTime is how long the reader of an answer that is no stream may take for it.
const answerTime = time.Minute

// Bounded bounds how long the reader of an answer may take for it. Streams set a deadline for
// each write.
func Bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor < 2 {
			// Also of a stream, before its own: the connection may still have that of its last answer.
			answerBy(w, r, time.Now().Add(answerTime))
			next.ServeHTTP(w, r)
			return
		}
		stop := func() {}
		if !strings.HasSuffix(r.URL.Path, "/events") && !strings.Contains(r.URL.Path, "/doctor/") {
			stop = answerBy(w, r, time.Now().Add(answerTime))
		}
		defer func() { // also if a panic ends the request
			stop()
			// What is short waits in net/http's buffer until now.
			stop = answerBy(w, r, time.Now().Add(answerTime))
			_ = http.NewResponseController(w).Flush() // the reader may have gone
			stop()
		}()
		next.ServeHTTP(w, r)
	})
}

// answerBy ends the answer if it is not written by then. What it returns is to be called when
// it is.
func answerBy(w http.ResponseWriter, r *http.Request, t time.Time) (done func()) {
	control := http.NewResponseController(w)
	if r.ProtoMajor < 2 {
		_ = control.SetWriteDeadline(t) // where there are none, only the kernel notices
		return func() {}                // what net/http still has to write is to be in time, too
	}
	two := http2Writer{control: control}
	_ = two.SetWriteDeadline(t) // never fails
	return two.disarm
}

// StreamWriter returns what a stream is written to, and what to call when it has ended. The
// limits that the host sets for requests do not cut it.
func StreamWriter(w http.ResponseWriter, r *http.Request) (out http.ResponseWriter, done func()) {
	w = Innermost(w)
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // http.Server.ReadTimeout would end the request's context
	if r.ProtoMajor < 2 {
		return w, func() {}
	}
	_ = control.SetWriteDeadline(time.Time{}) // and WriteTimeout an HTTP/2 stream, also while nothing is written
	two := &http2Writer{ResponseWriter: w, control: control}
	return two, two.disarm
}

// http2Writer is a stream's writer whose write deadlines are for writes alone. Those of
// net/http end an HTTP/2 stream also while nothing is written; and one that is set when the
// reader has reset the stream already, which nobody can know, keeps it, its connection and
// all other requests of that in memory until then.
type http2Writer struct {
	http.ResponseWriter
	control *http.ResponseController
	expiry  *time.Timer // nil or stopped while nothing is written
}

// SetWriteDeadline is for http.ResponseController: it holds until the next Flush is done.
func (w *http2Writer) SetWriteDeadline(t time.Time) error {
	w.disarm()
	if t.IsZero() {
		return nil
	}
	// A deadline in the past ends the stream at once.
	w.expiry = time.AfterFunc(time.Until(t), func() { _ = w.control.SetWriteDeadline(time.Unix(1, 0)) })
	return nil
}

// FlushError is for http.ResponseController.
func (w *http2Writer) FlushError() error {
	err := w.control.Flush()
	w.disarm()
	return err
}

func (w *http2Writer) disarm() {
	if w.expiry != nil {
		w.expiry.Stop()
	}
}
