package tlsconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// plainTime is how long the answer to a request without TLS may take.
const plainTime = time.Second

// errPlain ends a connection whose client speaks HTTP without TLS.
var errPlain = errors.New("the client speaks HTTP without TLS")

// answerPlain tells a client that speaks HTTP without TLS what to do. net/http would answer with five words, and close
// before it has read a longer request, so that many clients do not even see these words.
func answerPlain(c net.Conn) {
	const body = `{"error":"this port speaks HTTPS; write https:// in front of the address"}` + "\n"
	_ = c.SetDeadline(time.Now().Add(plainTime))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_, _ = io.CopyN(io.Discard, c, 64<<10) // unread bytes would make the kernel discard the answer
	}
}

// speaksHTTP reports whether the first bytes of a connection begin a request without TLS. A TLS record begins with its
// type, which is not a letter.
func speaksHTTP(p []byte) bool { return len(p) > 0 && p[0] >= 'A' && p[0] <= 'Z' }
