package doctor

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"headcount/client/remote"
)

// maxProbe is the longest probe to read, in bytes. A server sends far less.
const maxProbe = 1 << 20

// lateLimit is how late an event may arrive and still count as live.
const lateLimit = 150 * time.Millisecond

// arrival is the time at which an event of a probe arrived, and the time at which it was sent. Both count from the
// start of the stream.
type arrival struct{ at, sent time.Duration }

// probe is the result of a stream whose events the server sends at known times.
type probe struct {
	err      error // why it is not complete, or nil
	header   http.Header
	arrivals []arrival
	took     time.Duration // until the end or the error
	cursor   string        // the Last-Event-ID that the server received
	packed   string        // the compression of the response, if any
	complete bool          // the end arrived after at least one event
	changed  bool          // the bytes differ from those that were sent
}

// runProbe requests events with these gaps in between. encoding is Accept-Encoding, which is that of a browser or none.
func (d *doctor) runProbe(ctx context.Context, encoding, cursor string, gaps ...time.Duration) *probe {
	var total time.Duration
	var list []string
	for _, gap := range gaps {
		total += gap
		list = append(list, strconv.FormatFloat(gap.Seconds(), 'f', 3, 64))
	}
	ctx, cancel := context.WithTimeout(ctx, total+d.patient())
	defer cancel()

	p := &probe{}
	// Each probe has its own URL, because a cache may have one answer for equal URLs.
	req, err := d.get(ctx, "doctor/stream", "gaps", strings.Join(list, ","))
	if err != nil {
		p.err = err
		return p
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Accept-Encoding", encoding)
	if cursor != "" {
		req.Header.Set("Last-Event-ID", cursor)
	}
	begin := time.Now()
	resp, wrote, err := d.send(req)
	if err == nil {
		begin = wrote
		p.header = resp.Header
		p.err = p.read(resp, begin)
		resp.Body.Close()
	} else {
		p.err = err
	}
	p.took = time.Since(begin)
	return p
}

// read reads the stream and splits it into events. Times count from begin.
func (p *probe) read(resp *http.Response, begin time.Time) error {
	if err := remote.CheckStream(resp, false); err != nil {
		return err
	}
	body, packed, err := unpack(resp)
	p.packed = packed
	if err != nil {
		return err
	}
	var raw bytes.Buffer
	err = remote.ReadBlocks(io.TeeReader(io.LimitReader(body, maxProbe), &raw), func(b remote.Block) { p.take(b, begin, &raw) })
	if err == nil && !p.complete {
		err = remote.ErrEnded
	}
	return err
}

// unpack returns the text of a response, and its compression, if any.
func unpack(resp *http.Response) (text io.Reader, packed string, err error) {
	switch packed = resp.Header.Get("Content-Encoding"); packed {
	case "", "identity":
		return resp.Body, "", nil
	case "gzip":
		text, err = gzip.NewReader(bufio.NewReader(resp.Body))
		if err != nil {
			return nil, packed, fmt.Errorf("unpack stream: %w", err)
		}
		return text, packed, nil
	}
	return nil, packed, fmt.Errorf("it is compressed with %s, which nobody asked for", packed)
}

// take handles one block. raw holds at least all bytes up to the block.
func (p *probe) take(b remote.Block, begin time.Time, raw *bytes.Buffer) {
	switch b.Name {
	case "io:probe":
		var data struct {
			At          float64
			LastEventID string
		}
		if json.Unmarshal([]byte(b.Data), &data) == nil {
			p.cursor = data.LastEventID
			p.arrivals = append(p.arrivals, arrival{b.At.Sub(begin), seconds(data.At)})
		}
	case "io:end":
		var data struct {
			Bytes  int
			SHA256 string
		}
		p.complete = len(p.arrivals) > 0
		if json.Unmarshal([]byte(b.Data), &data) != nil || data.Bytes < 0 || data.Bytes > raw.Len() {
			p.changed = true
			return
		}
		sum := sha256.Sum256(raw.Bytes()[:data.Bytes])
		p.changed = hex.EncodeToString(sum[:]) != data.SHA256
	}
}

// last returns when the last event arrived, counted from the request.
func (p *probe) last() time.Duration {
	if len(p.arrivals) == 0 {
		return 0
	}
	return p.arrivals[len(p.arrivals)-1].at
}

// manner is how the events of a stream arrive.
type manner int

const (
	live   manner = iota
	late          // after a delay
	behind        // each with the next one
	held          // all at the end
)

// manner judges a complete probe. It compares the delays with the shortest round trip, so no two clocks are compared.
// It also returns the median and the maximum of the delays.
func (p *probe) manner(roundTrip time.Duration) (m manner, median, most time.Duration) {
	lateness := make([]time.Duration, len(p.arrivals))
	isBehind := len(p.arrivals) > 1
	for i, a := range p.arrivals {
		lateness[i] = max(0, a.at-a.sent-roundTrip)
		if i+1 < len(p.arrivals) {
			off := (a.at - p.arrivals[i+1].sent - roundTrip).Abs()
			isBehind = isBehind && off < lateLimit && lateness[i] > lateLimit
		}
	}
	sorted := slices.Sorted(slices.Values(lateness))
	median, most = sorted[len(sorted)/2], sorted[len(sorted)-1]
	end := p.arrivals[len(p.arrivals)-1].sent
	switch {
	case end > lateLimit && lateness[0] > end-lateLimit:
		return held, median, most
	case isBehind:
		return behind, median, most
	case median > lateLimit || most > time.Second:
		return late, median, most
	}
	return live, median, most
}

// send sends a request and returns the time at which it was written.
func (d *doctor) send(req *http.Request) (*http.Response, time.Time, error) {
	var wrote atomic.Pointer[time.Time] // a connection has its own goroutine for writes
	begin := time.Now()
	wrote.Store(&begin)
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { now := time.Now(); wrote.Store(&now) }}
	resp, err := d.server.Get(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return nil, begin, err
	}
	return resp, *wrote.Load(), nil
}

// seconds returns at most a day, because a value of the server may be too large for a duration.
func seconds(s float64) time.Duration { return time.Duration(min(s, 86400) * float64(time.Second)) }
