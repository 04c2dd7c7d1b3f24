package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// maxBody is the largest body in bytes of a POST, except /emit.
const maxBody = 16 << 10

// bodyTime is how long a client may take to send a body.
const bodyTime = 10 * time.Second

// maxWaste is how much of a body that is too large is read and discarded. A client that writes its whole request first
// would otherwise see a cut connection and no response.
const maxWaste = 32 << 20

// readBody reads at most limit bytes within bodyTime.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, fmt.Errorf("set read deadline: %w", err)
	}
	if r.ProtoMajor >= 2 {
		// A deadline set on a stream that was already reset would keep the stream in memory until then. On HTTP/1.1 the
		// deadline stays, for the rest of a body that is not read here.
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	var body []byte
	var err error
	large := r.ContentLength > limit && r.Header.Get("Expect") != "" // the client waits before it sends the body
	if !large {
		body, err = io.ReadAll(io.LimitReader(r.Body, limit+1))
		if large = int64(len(body)) > limit; large {
			_, _ = io.CopyN(io.Discard, r.Body, maxWaste)
		}
	}
	switch {
	case large:
		return nil, Refuse(http.StatusRequestEntityTooLarge, "body_too_large", "the body is larger than %d bytes; send less", limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, Refuse(http.StatusRequestTimeout, "body_too_slow", "the body did not arrive within %v; send it faster", bodyTime)
	case err != nil:
		return nil, BadRequest(fmt.Errorf("read body: %w", err))
	}
	keepBody(r, body)
	return body, nil
}
