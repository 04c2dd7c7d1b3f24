package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"headcount/client/retry"
	"headcount/client/terminal"
)

// Why a connection is lost.
var (
	ErrEnded   = errors.New("the stream ended")
	ErrSilent  = errors.New("nothing came for too long")
	ErrHeld    = errors.New("the stream is open, but no event arrives")
	ErrTooLong = errors.New("an event of more than 16 MiB came")
)

// Refusal is an answer that is not the one that was asked for.
type Refusal struct {
	Why    string
	After  time.Duration // Retry-After, 0 if there was none
	Status int           // of the answer that said so, 0 if it was 200
	Own    bool          // the server itself says so, in a sentence
	// WantsTLS reports whether the server speaks TLS only.
	WantsTLS bool
}

func (r *Refusal) Error() string { return r.Why }

// NewRefusal reads an answer that is not a good one.
func NewRefusal(resp *http.Response) *Refusal {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // what was read of it has to do
	return Refuse(resp, body)
}

// Refuse makes a refusal of an answer whose body was read.
func Refuse(resp *http.Response, body []byte) *Refusal {
	r := &Refusal{
		Why: "it answers " + resp.Status, Status: resp.StatusCode, After: retry.ParseAfter(resp.Header, time.Now()),
	}
	var answer struct{ Error string }
	switch {
	case resp.StatusCode/100 == 3:
		r.Why = fmt.Sprintf("%s and points to %q; use the URL that it points to", r.Why, resp.Header.Get("Location"))
	case resp.StatusCode == http.StatusBadRequest && resp.Request != nil && resp.Request.URL.Scheme == "http" && speaksOfTLS(body):
		r.Why, r.WantsTLS = "the server speaks TLS only; use https:// instead of http://", true
	case json.Unmarshal(body, &answer) == nil && answer.Error != "":
		r.Why, r.Own = r.Why+": "+answer.Error, true
	}
	return r
}

// speaksOfTLS reports whether the body of a 400 is what Go, nginx and Apache answer to plain HTTP on the port of TLS.
func speaksOfTLS(body []byte) bool {
	text := strings.ToLower(string(body))
	return strings.Contains(text, "https") || strings.Contains(text, "ssl-enabled")
}

// CheckStream returns an error unless resp holds events: as text/event-stream, or, if it may be plain, as text/plain.
func CheckStream(resp *http.Response, plain bool) error {
	if resp.StatusCode != http.StatusOK {
		return NewRefusal(resp)
	}
	kind := resp.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(kind)
	if err == nil && (media == "text/event-stream" || plain && media == "text/plain") {
		return nil
	}
	return &Refusal{Why: fmt.Sprintf("it answers with %q, not with events; is it a headcount server?", kind)}
}

// Waiting reports whether the same request may succeed later. It does not where the server itself refuses it. Before
// anything worked, it does not where nobody knows the address, or one side speaks TLS and the other does not, or the
// certificate is wrong.
func Waiting(err error, worked bool) bool {
	var refused *Refusal
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &refused) {
		switch refused.Status {
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
			return !refused.Own && (worked || !refused.WantsTLS && refused.Status != http.StatusNotFound)
		}
		return true
	}
	return worked || !errors.Is(err, http.ErrSchemeMismatch) && !errors.As(err, &certificate)
}

// Reason says in a few words why there is no connection. It leaves out what differs from one attempt to the next, such as
// port numbers, because a reason is told only once.
func Reason(err error) string {
	var (
		refused   *Refusal
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		system    *os.SyscallError
		op        *net.OpError
	)
	switch {
	case errors.As(err, &refused):
		return terminal.OneLine(refused.Why)
	case errors.As(err, &dns):
		return fmt.Sprintf("host %s not found", terminal.OneLine(dns.Name))
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "the server does not speak TLS; use http:// instead of https://"
	case errors.As(err, &authority):
		return "its certificate is signed by an authority that this machine does not know"
	case errors.As(err, &system):
		return system.Err.Error()
	case errors.As(err, &op):
		return terminal.OneLine(op.Err.Error())
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "the connection broke"
	}
	return terminal.OneLine(err.Error())
}
