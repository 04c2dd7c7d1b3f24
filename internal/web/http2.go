package web

import (
	"net/http"
	"time"
)

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
