// Package doctor is the server's side of "client doctor" and of the page's doctor. Its probes show what the network
// path to this server does to streams. They count nobody and touch no room.
//
// A [Doctor] may be used from any goroutine. [Doctor.Stop] ends the running probes. Its tests run in a testing/synctest
// bubble.
package doctor

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

	"headcount/internal/httpapi"
	"headcount/internal/sse"
)

// Limits of the probes, because anybody may start them.
const (
	maxProbes    = 64 // running at once
	maxProbeTime = 120 * time.Second
	maxGaps      = 64
	probeWrite   = 10 * time.Second // for one write
)

// Doctor answers probes under /doctor/.
type Doctor struct {
	heartbeat, linger time.Duration
	stop              chan struct{} // closed when the server stops

	mu      sync.Mutex
	open    int
	stopped bool
}

// New returns a doctor for a server with that heartbeat and grace period.
func New(heartbeat, linger time.Duration) *Doctor {
	return &Doctor{heartbeat: heartbeat, linger: linger, stop: make(chan struct{})}
}

// Stop ends the running probes. It may be called more than once.
func (d *Doctor) Stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopped {
		d.stopped = true
		close(d.stop)
	}
}

// enter reports whether another probe may start.
func (d *Doctor) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == maxProbes {
		return false
	}
	d.open++
	return true
}

func (d *Doctor) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
}

// Probe serves GET /doctor/…. name is the rest of the path.
func (d *Doctor) Probe(w http.ResponseWriter, r *http.Request, name string) error {
	probes := map[string]func(http.ResponseWriter, *http.Request) error{
		"path": d.probePath, "stream": d.probeStream, "socket": probeSocket,
	}
	probe := probes[name]
	if probe == nil {
		return httpapi.NotFound("there is nothing here; the probes are path, stream and socket")
	}
	if !d.enter() {
		return httpapi.Refuse(http.StatusServiceUnavailable, "max_probes", "too many doctors are running here; try again in a minute")
	}
	defer d.leave()
	return probe(w, r)
}

// probePath reports how a request arrived, and the settings of this server that the doctor needs to judge the rest.
func (d *Doctor) probePath(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	return httpapi.WriteJSON(w, struct {
		Proto     string  `json:"proto"`
		Proxied   bool    `json:"proxied"`   // a proxy has added a header
		Heartbeat float64 `json:"heartbeat"` // seconds
		Linger    float64 `json:"linger"`    // seconds
	}{r.Proto, httpapi.Forwarded(r), d.heartbeat.Seconds(), d.linger.Seconds()})
}

// probeStream responds with a stream whose events come at known times. It sends one event at once, and one after each
// of the gaps that the query lists in seconds. The first event contains the received Last-Event-ID. The last one
// contains what was sent.
func (d *Doctor) probeStream(w http.ResponseWriter, r *http.Request) error {
	gaps, err := parseGaps(r.URL.Query().Get("gaps"))
	if err != nil {
		return httpapi.BadRequest(err)
	}
	httpapi.SetStreamHeader(w.Header())
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	w, done := httpapi.StreamWriter(w, r)
	defer done()
	out := &probeWriter{w: w, control: http.NewResponseController(w), begin: time.Now()}
	// The connection may serve another request.
	defer func() { _ = out.control.SetWriteDeadline(time.Time{}) }()
	// A comment and letters beyond ASCII reveal software that changes streams on the way.
	out.text = append(out.text, ": headcount, für 🩺\n\n"...)
	cursor := r.Header.Get("Last-Event-ID")
	w.WriteHeader(http.StatusOK)
	for n := 0; ; n++ {
		if err := out.event(n, cursor[:min(len(cursor), 100)]); err != nil {
			return nil // the client has gone
		}
		if n == len(gaps) {
			break
		}
		if !d.wait(r.Context(), gaps[n]) {
			return nil
		}
	}
	_ = out.end() // the client may have gone
	return nil
}

// wait returns false if ctx is done or the server stops before the time is over.
func (d *Doctor) wait(ctx context.Context, t time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-d.stop:
	case <-time.After(t):
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

// probeWriter writes the events of a probe, each in one write.
type probeWriter struct {
	w       io.Writer
	control *http.ResponseController
	begin   time.Time
	text    []byte // all that was sent, and the text before the next event
	sent    int    // bytes of text that were sent
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

// end sends what was sent so far, so that the client can compare it.
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

// probeSocket accepts a WebSocket handshake and closes the connection at once. It only shows whether WebSockets are
// blocked. headcount itself does not use them.
func probeSocket(w http.ResponseWriter, r *http.Request) error {
	key := r.Header.Get("Sec-WebSocket-Key")
	if r.ProtoMajor != 1 || key == "" || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		return httpapi.Refuse(http.StatusUpgradeRequired, "other", "the handshake of a WebSocket did not arrive here; a proxy may have taken its headers away")
	}
	// RFC 6455, section 4.2.2: "this value is constructed by concatenating /key/ [...] with the string
	// "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", taking the SHA-1 hash".
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("hijack connection: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(probeWrite)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n" +
		"\x88\x02\x03\xe8" // a close frame, 1000: "the purpose for which the connection was established has been fulfilled"
	if _, err := io.WriteString(conn, answer); err != nil {
		return nil // the client has gone
	}
	// Closing first could overtake the written bytes.
	_, _ = io.CopyN(io.Discard, conn, 64)
	return nil
}
