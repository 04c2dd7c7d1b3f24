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
// before a longer request is read, so that many a client sees not even these.
func answerPlain(c net.Conn) {
	const body = `{"error":"this port speaks HTTPS; write https:// in front of the address"}` + "\n"
	_ = c.SetDeadline(time.Now().Add(plainTime))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_, _ = io.CopyN(io.Discard, c, 64<<10) // what is left unread would make the kernel throw the answer away
	}
}

// speaksHTTP reports whether the first bytes of a connection begin a request without TLS. A record of TLS begins with its
// type, which is no letter.
func speaksHTTP(p []byte) bool { return len(p) > 0 && p[0] >= 'A' && p[0] <= 'Z' }
