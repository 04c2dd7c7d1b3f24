package web

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"headcount/internal/sse"
)

// Bounds of the probes: anyone may ask for them.
const (
	maxProbes    = 64 // under way at once
	maxProbeTime = 120 * time.Second
	maxGaps      = 64
	probeWrite   = 10 * time.Second // for one write
)

// probes are what "client doctor" asks for under /doctor/, to find out what the way to this server does to streams. They
// count nobody and touch no room.
type probes struct {
	stop chan struct{} // closed when the server stops

	mu   sync.Mutex
	open int
}

// enter returns false if as many probes as may be are under way.
func (p *probes) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == maxProbes {
		return false
	}
	p.open++
	return true
}

func (p *probes) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
}

// doctor serves GET /doctor/….
func (s *Server) doctor(c echo.Context) error {
	if !s.probes.enter() {
		return unavailable(byProbes, "as many doctors as this server sees at once are here; come back in a minute")
	}
	defer s.probes.leave()
	switch c.Param("probe") {
	case "path":
		return s.probePath(c)
	case "stream":
		return s.probeStream(c)
	case "socket":
		return probeSocket(c)
	}
	return echo.ErrNotFound
}

// probePath answers how a request arrived, and what of this server the doctor must know to judge the rest.
func (s *Server) probePath(c echo.Context) error {
	r := c.Request()
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, struct {
		Proto     string  `json:"proto"`
		Proxied   bool    `json:"proxied"`   // a proxy on the way has said so
		Heartbeat float64 `json:"heartbeat"` // seconds
		Linger    float64 `json:"linger"`    // seconds
	}{r.Proto, forwarded(r), s.opt.Heartbeat.Seconds(), s.opt.Linger.Seconds()})
}

// probeStream answers a stream whose events come at known times: one at once, and one after each of the gaps that the
// query asks for, in seconds. The first one says which Last-Event-ID came, the last one what was sent.
func (s *Server) probeStream(c echo.Context) error {
	gaps, err := parseGaps(c.QueryParam("gaps"))
	if err != nil {
		return badRequest(err)
	}
	setStreamHeader(c.Response().Header())
	if c.Request().Method == http.MethodHead {
		return c.NoContent(http.StatusOK)
	}
	w, done := streamWriter(c)
	defer done()
	out := &probeWriter{w: w, control: http.NewResponseController(w), begin: time.Now()}
	// The connection may serve another request.
	defer func() { _ = out.control.SetWriteDeadline(time.Time{}) }()
	// A comment, and letters beyond ASCII, for those who change streams on the way to show themselves.
	out.text = append(out.text, ": headcount, für 🩺\n\n"...)
	cursor := c.Request().Header.Get("Last-Event-ID")
	c.Response().WriteHeader(http.StatusOK)
	for n := 0; ; n++ {
		if err := out.event(n, cursor[:min(len(cursor), 100)]); err != nil {
			return nil // the reader has gone: nobody to answer
		}
		if n == len(gaps) {
			break
		}
		if !s.probes.wait(c.Request().Context(), gaps[n]) {
			return nil
		}
	}
	_ = out.end() // the reader may have gone
	return nil
}

// wait returns false if ctx is done or the server stops before d is over.
func (p *probes) wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-p.stop:
	case <-time.After(d):
		return true
	}
	return false
}

// parseGaps reads a comma-separated list of seconds.
func parseGaps(list string) ([]time.Duration, error) {
	var gaps []time.Duration
	var total time.Duration
	for text := range strings.SplitSeq(list, ",") {
		if list == "" {
			break
		}
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || !(f >= 0 && f <= maxProbeTime.Seconds()) {
			return nil, fmt.Errorf("gaps has %.20q; give seconds, such as 0.5,35", text)
		}
		d := time.Duration(f * float64(time.Second))
		if total += d; total > maxProbeTime || len(gaps) == maxGaps {
			return nil, fmt.Errorf("gaps are too many or too long; give at most %d, of %v in all", maxGaps, maxProbeTime)
		}
		gaps = append(gaps, d)
	}
	return gaps, nil
}

// probeWriter writes a probe's events, each in one write.
type probeWriter struct {
	w       io.Writer
	control *http.ResponseController
	begin   time.Time
	text    []byte // all that was sent, and what goes before the next event
	sent    int    // bytes of text that are sent
}

func (p *probeWriter) event(n int, cursor string) error {
	data, err := json.Marshal(struct {
		N           int     `json:"n"`
		At          float64 `json:"at"` // seconds since the first
		LastEventID string  `json:"lastEventId"`
	}{n, time.Since(p.begin).Seconds(), cursor})
	if err != nil {
		return fmt.Errorf("encode probe: %w", err)
	}
	return p.send(&sse.Event{ID: strconv.AppendInt(nil, int64(n), 10), Event: []byte("io:probe"), Data: data})
}

// end says what was sent, so that a reader can compare.
func (p *probeWriter) end() error {
	sum := sha256.Sum256(p.text)
	data, err := json.Marshal(struct {
		Bytes  int    `json:"bytes"`
		SHA256 string `json:"sha256"`
	}{len(p.text), hex.EncodeToString(sum[:])})
	if err != nil {
		return fmt.Errorf("encode probe: %w", err)
	}
	return p.send(&sse.Event{Event: []byte("io:end"), Data: data})
}

func (p *probeWriter) send(e *sse.Event) error {
	p.text = sse.Append(p.text, e)
	if err := p.control.SetWriteDeadline(time.Now().Add(probeWrite)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	n, err := p.w.Write(p.text[p.sent:])
	p.sent += n
	return errors.Join(err, p.control.Flush())
}

// probeSocket answers a WebSocket handshake and says goodbye at once. It is there to be blocked: headcount itself has
// no use for WebSockets.
func probeSocket(c echo.Context) error {
	r := c.Request()
	key := r.Header.Get("Sec-WebSocket-Key")
	if r.ProtoMajor != 1 || key == "" || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		c.Response().Header().Set("Upgrade", "websocket")
		return echo.NewHTTPError(http.StatusUpgradeRequired, "the handshake of a WebSocket did not arrive here; a proxy may have taken its headers away")
	}
	// RFC 6455, section 4.2.2: "this value is constructed by concatenating /key/ [...] with the string
	// "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", taking the SHA-1 hash".
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, _, err := c.Response().Hijack()
	if err != nil {
		return fmt.Errorf("hijack connection: %w", err)
	}
	c.Response().Committed = true // whatever happens now, there is no answer to give
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(probeWrite)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n" +
		"\x88\x02\x03\xe8" // a close frame, 1000: "the purpose for which the connection was established has been fulfilled"
	if _, err := io.WriteString(conn, answer); err != nil {
		return nil // the reader has gone: nobody to answer
	}
	// Closing first could overtake what was written.
	_, _ = io.CopyN(io.Discard, conn, 64)
	return nil
}
