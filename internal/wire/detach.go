package wire

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Obstacle is why a loop cannot write a stream. The portable writer does it then.
type Obstacle string

// Obstacles. The first two are known before the connection is hijacked.
const (
	HTTP2         Obstacle = "http2"
	OldTLS        Obstacle = "tls12"    // or older
	OtherListener Obstacle = "listener" // the connection is not from a listener of ours
	OtherCipher   Obstacle = "cipher"
	NotProven     Obstacle = "unproven" // the key or the sequence number is wrong, for instance after a KeyUpdate
	ReaderGone    Obstacle = "gone"     // the client has left
)

// Obstacles returns all obstacles.
func Obstacles() []Obstacle {
	return []Obstacle{HTTP2, OldTLS, OtherListener, OtherCipher, NotProven, ReaderGone}
}

// NotDetached explains why [Detach] left a connection as it was.
type NotDetached struct {
	Obstacle Obstacle
	Err      error
}

func (e *NotDetached) Error() string {
	return fmt.Sprintf("detach connection (%s): %v", e.Obstacle, e.Err)
}

func (e *NotDetached) Unwrap() error { return e.Err }

// Detachable returns why a loop cannot write the answer to a request, as far as that is known before its connection is
// hijacked. It returns "" if there is no obstacle. state is that of http.Request.TLS, nil without TLS.
func Detachable(protoMajor int, state *tls.ConnectionState) Obstacle {
	switch {
	case protoMajor != 1:
		return HTTP2
	case state != nil && state.Version < tls.VersionTLS13:
		return OldTLS
	}
	return ""
}

// ConnWriter lets [Stream.Run] write to a hijacked connection that Epoll cannot take. Its subscriber has Prefix and
// Chunked set, because nothing else writes the header.
type ConnWriter struct {
	net.Conn
	buffer []byte
}

// NewConnWriter returns a writer, and a context that ends when the client leaves. Call stop at the end. It closes the
// connection, and waits.
func NewConnWriter(conn net.Conn) (w *ConnWriter, gone context.Context, stop func()) {
	gone, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, conn) // the bytes of a client do not matter, only that it closes
		cancel()
		_ = conn.Close() // this interrupts a write in progress
	}()
	return &ConnWriter{Conn: conn}, gone, func() { _ = conn.Close(); <-done }
}

// Header is not used. The header is in the subscriber's prefix.
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
