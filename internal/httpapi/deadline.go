package httpapi

import (
	"net/http"
	"runtime"
	"strings"
	"time"
)

// answerTime is how long a client may take to read a response that is not a stream.
const answerTime = time.Minute

// Bounded limits how long a client may take to read a response. Streams set a deadline for each write.
func Bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		growStack()
		if r.ProtoMajor < 2 {
			// A stream needs this too, because the connection may still have the deadline of its last response.
			answerBy(w, r, time.Now().Add(answerTime))
			next.ServeHTTP(w, r)
			return
		}
		stop := func() {}
		if !strings.HasSuffix(r.URL.Path, "/events") && !strings.Contains(r.URL.Path, "/doctor/") {
			stop = answerBy(w, r, time.Now().Add(answerTime))
		}
		defer func() { // even if a panic ends the request
			stop()
			// net/http has buffered a short response until now.
			stop = answerBy(w, r, time.Now().Add(answerTime))
			_ = http.NewResponseController(w).Flush() // the client may have gone
			stop()
		}()
		next.ServeHTTP(w, r)
	})
}

// growStack makes the stack of a new connection as large as a stream needs. Otherwise it grows below all middleware,
// where Go has many frames to copy, which took 5 % of the processor time of a connect.
//
//go:noinline
func growStack() {
	var space [4 << 10]byte
	runtime.KeepAlive(&space)
}

// answerBy cuts the response if it is not written by then. The caller must call done when it is written.
func answerBy(w http.ResponseWriter, r *http.Request, t time.Time) (done func()) {
	control := http.NewResponseController(w)
	if r.ProtoMajor < 2 {
		_ = control.SetWriteDeadline(t) // without deadlines only the kernel notices
		return func() {}                // the deadline stays for what net/http still has to write
	}
	two := http2Writer{control: control}
	_ = two.SetWriteDeadline(t) // it never fails
	return two.disarm
}

// StreamWriter returns the writer for a stream, and a function to call when the stream has ended. The time limits that
// the host sets for requests do not cut the stream.
func StreamWriter(w http.ResponseWriter, r *http.Request) (out http.ResponseWriter, done func()) {
	w = Innermost(w)
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // http.Server.ReadTimeout would end the request's context
	if r.ProtoMajor < 2 {
		return w, func() {}
	}
	_ = control.SetWriteDeadline(time.Time{}) // WriteTimeout would end an HTTP/2 stream, even one without writes
	two := &http2Writer{ResponseWriter: w, control: control}
	return two, two.disarm
}

// http2Writer is a writer for a stream whose write deadlines apply only to writes. The deadlines of net/http end an
// HTTP/2 stream even while nothing is written. Moreover, a deadline that is set on a stream that the client has just
// reset keeps the stream, its connection and all other requests of the connection in memory until then. The server
// cannot detect this.
type http2Writer struct {
	http.ResponseWriter
	control *http.ResponseController
	expiry  *time.Timer // nil or stopped while nothing is written
}

// SetWriteDeadline implements the method for http.ResponseController. The deadline holds until the next Flush returns.
func (w *http2Writer) SetWriteDeadline(t time.Time) error {
	w.disarm()
	if t.IsZero() {
		return nil
	}
	// A deadline in the past ends the stream at once.
	w.expiry = time.AfterFunc(time.Until(t), func() { _ = w.control.SetWriteDeadline(time.Unix(1, 0)) })
	return nil
}

// FlushError implements the method for http.ResponseController.
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
