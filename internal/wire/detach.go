package wire

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Obstacle is why a loop does not write a stream: the portable writer does.
type Obstacle string

// Obstacles. The first two are known before the connection is hijacked.
const (
	HTTP2         Obstacle = "http2"
	OldTLS        Obstacle = "tls12"    // or older
	OtherListener Obstacle = "listener" // the connection is not from a listener of ours
	OtherCipher   Obstacle = "cipher"
	NotProven     Obstacle = "unproven" // key or sequence number are not what they seem, for instance behind a KeyUpdate
	ReaderGone    Obstacle = "gone"     // there is nobody to write to
)

// Obstacles are all that there are.
func Obstacles() []Obstacle {
	return []Obstacle{HTTP2, OldTLS, OtherListener, OtherCipher, NotProven, ReaderGone}
}

// NotDetached says why [Detach] left a connection as it was.
type NotDetached struct {
	Obstacle Obstacle
	Err      error
}

func (e *NotDetached) Error() string {
	return fmt.Sprintf("detach connection (%s): %v", e.Obstacle, e.Err)
}

func (e *NotDetached) Unwrap() error { return e.Err }

// Detachable returns what keeps the answer to a request from a loop, as far as that is known before its connection is
// hijacked; "" if nothing does. state is that of http.Request.TLS, nil without TLS.
func Detachable(protoMajor int, state *tls.ConnectionState) Obstacle {
	switch {
	case protoMajor != 1:
		return HTTP2
	case state != nil && state.Version < tls.VersionTLS13:
		return OldTLS
	}
	return ""
}

// ConnWriter lets [Stream.Run] write to a connection that was hijacked and that Epoll cannot
// take. Its subscriber has Prefix and Chunked set, for nobody else writes the header.
type ConnWriter struct {
	net.Conn
	buffer []byte
}

// NewConnWriter returns a writer, and a context that ends when the reader goes. Call stop at
// the end: it closes the connection, and waits.
func NewConnWriter(conn net.Conn) (w *ConnWriter, gone context.Context, stop func()) {
	gone, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, conn) // what a reader sends is of no interest, but that it closes
		cancel()
		_ = conn.Close() // what is being written does not wait
	}()
	return &ConnWriter{Conn: conn}, gone, func() { _ = conn.Close(); <-done }
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
	_, err := w.Conn.Write(w.buffer)
	w.buffer = nil
	return err
}
