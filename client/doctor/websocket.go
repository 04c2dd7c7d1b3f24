package doctor

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"headcount/client/remote"
)

// Reasons why there is no WebSocket.
var (
	errNoFrame   = errors.New("it opens, but nothing comes through")
	errImposter  = errors.New("something other than the server answers")
	errNoUpgrade = errors.New("the handshake loses its headers")
)

// handshake tries to open a WebSocket, which the server closes at once. It returns nil if that succeeded.
func (d *doctor) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.patient())
	defer cancel()
	req, err := d.get(ctx, "doctor/socket")
	if err != nil {
		return err
	}
	nonce := make([]byte, 16)
	rand.Read(nonce) // never fails
	key := base64.StdEncoding.EncodeToString(nonce)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13",
	} {
		req.Header.Set(name, value)
	}
	// The handshake of a WebSocket needs HTTP/1.1.
	transport := d.server.HTTP.Transport.(*http.Transport).Clone()
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("open WebSocket: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols:
	case http.StatusUpgradeRequired: // the server itself reports what arrived there
		return errNoUpgrade
	default:
		return remote.NewRefusal(resp)
	}
	// RFC 6455, section 4.1: "the base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-Key| [...] with the
	// string "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"".
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if resp.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		return errImposter
	}
	// The body of such a response is the connection, which ignores ctx.
	late := time.AfterFunc(d.patient(), func() { resp.Body.Close() })
	defer late.Stop()
	frame := make([]byte, 4)
	if _, err := io.ReadFull(resp.Body, frame); err != nil || frame[0] != 0x88 {
		return errNoFrame
	}
	return nil
}
