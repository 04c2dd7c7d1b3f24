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

// Reasons why a connection is lost.
var (
	ErrEnded   = errors.New("the stream ended")
	ErrSilent  = errors.New("nothing came for too long")
	ErrHeld    = errors.New("the stream is open, but no event arrives")
	ErrTooLong = errors.New("an event of more than 16 MiB came")
)

// Refusal is a response that differs from the requested one.
type Refusal struct {
	Why    string
	After  time.Duration // Retry-After, 0 if there was none
	Status int           // of the response, 0 if it was 200
	Own    bool          // the server itself refused, with a sentence
	// WantsTLS reports whether the server speaks TLS only.
	WantsTLS bool
}

func (r *Refusal) Error() string { return r.Why }

// NewRefusal makes a refusal from a response, and reads its body.
func NewRefusal(resp *http.Response) *Refusal {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // a partial body is good enough
	return Refuse(resp, body)
}

// Refuse makes a refusal from a response whose body was read.
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

// speaksOfTLS reports whether body is the response of Go, nginx or Apache to plain HTTP on a TLS port. Its status is
// 400.
func speaksOfTLS(body []byte) bool {
	text := strings.ToLower(string(body))
	return strings.Contains(text, "https") || strings.Contains(text, "ssl-enabled")
}

// CheckStream returns an error unless resp holds events. Their type is text/event-stream, or with plain also
// text/plain.
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

// NoSuchHost reports whether the host name does not exist, as far as this machine knows. That may be temporary, but at
// the first attempt it is most likely a mistake of the user.
func NoSuchHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound && !dns.IsTemporary
}

// Waiting reports whether the same request may succeed later. It cannot if the server itself refuses it. Before the
// first success, it cannot either if only one side uses TLS, or if the certificate is invalid.
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

// Reason returns in a few words why there is no connection. It omits values that differ between attempts, such as port
// numbers, because each reason is printed only once.
func Reason(err error) string {
	var (
		refused   *Refusal
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		other     x509.HostnameError
		invalid   x509.CertificateInvalidError
		system    *os.SyscallError
		op        *net.OpError
	)
	switch {
	case errors.As(err, &refused):
		return terminal.OneLine(refused.Why)
	case NoSuchHost(err):
		errors.As(err, &dns)
		return fmt.Sprintf("the host name %s does not exist", terminal.OneLine(dns.Name))
	case errors.As(err, &dns):
		return fmt.Sprintf("the host name %s cannot be looked up now", terminal.OneLine(dns.Name))
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "the server does not speak TLS; use http:// instead of https://"
	case errors.As(err, &authority):
		return "its certificate is signed by an authority that this machine does not know"
	case errors.As(err, &other):
		return "its certificate is not for " + terminal.OneLine(other.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired or is not valid yet"
	case errors.As(err, &system):
		return system.Err.Error()
	case errors.As(err, &op):
		return terminal.OneLine(op.Err.Error())
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "the connection broke"
	}
	return terminal.OneLine(err.Error())
}
