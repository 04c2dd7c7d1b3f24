package wire

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"
)

// Detachable returns why a stream that arrived like that must stay with net/http, or "": then
// hijack its connection and [Detach] it.
func Detachable(protoMajor int, state *tls.ConnectionState) (reason string) {
	switch {
	case protoMajor != 1:
		return "http2"
	case state != nil:
		return "tls"
	}
	return ""
}

// NotDetached says why a connection cannot go to [Epoll]. It still works.
type NotDetached struct{ Reason string }

func (e *NotDetached) Error() string { return "detach connection: " + e.Reason }

// ConnWriter lets [Stream.Run] write to a connection that was hijacked and that Epoll cannot
// take. Its subscriber has Prefix and Chunked set, for nobody else writes the header.
type ConnWriter struct {
	conn   net.Conn
	buffer []byte
}

// NewConnWriter returns a writer, and a context that ends when the reader goes. Call stop at
// the end: it closes the connection, and waits.
func NewConnWriter(conn net.Conn) (w *ConnWriter, gone context.Context, stop func()) {
	gone, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		_, _ = io.Copy(io.Discard, conn) // what a reader sends is of no interest, but that it closes
	}()
	return &ConnWriter{conn: conn}, gone, func() { _ = conn.Close(); <-done }
}

// Header is of no use: the header is the subscriber's prefix.
func (w *ConnWriter) Header() http.Header { return http.Header{} }

// WriteHeader does nothing.
func (w *ConnWriter) WriteHeader(int) {}

// Write keeps p until the next flush.
func (w *ConnWriter) Write(p []byte) (int, error) {
	w.buffer = append(w.buffer, p...)
	return len(p), nil
}

// FlushError is for [http.ResponseController].
func (w *ConnWriter) FlushError() error {
	_, err := w.conn.Write(w.buffer)
	w.buffer = nil
	return err
}

// SetWriteDeadline is for [http.ResponseController].
func (w *ConnWriter) SetWriteDeadline(t time.Time) error { return w.conn.SetWriteDeadline(t) }
