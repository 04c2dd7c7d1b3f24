package load

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// A stream is one connection to the server under test.
type stream struct {
	fd       int
	records  *records // nil: plain
	number   int      // of all that were ever started
	index    int      // in Generator.open, -1 when it is not there
	phase    phase
	chunked  bool
	small    bool // has a small receive buffer
	stalled  bool // is or was not being read: not counted in deliveries and latency
	chunks   chunks
	carry    []byte // what has come of a header or event that is not whole yet
	count    int64  // the last user count it heard, -1: none
	openedAt int64

	next int64 // number of the measured event that is due, -1: any
	fate fate
}

type phase byte

const (
	connecting phase = iota
	shaking          // the handshake of TLS is done elsewhere
	inHeader
	greeting // Engine.IO: between the header and the answer to our "40"
	open
	closed
)

// fate is what a stream saw since [Generator.reset].
type fate struct {
	received   int
	duplicates int   // measured events that had come before
	silent     int64 // measured events that never came and that nobody said a word about
	told       int64 // measured events that did not come and that were announced as missing
	wrong      int   // announcements of a wrong number
	announced  bool  // a gap was announced, the next event tells how large it is
	announcing int64 // how large it was said to be, -1: unknown
	closed     bool
}

// note takes down the number of a measured event.
func (s *stream) note(n int64) {
	f := &s.fate
	f.received++
	switch missing := n - s.next; {
	case s.next < 0 || missing == 0:
	case missing < 0:
		f.duplicates++
		return
	case f.announced:
		f.told += missing
		if f.announcing >= 0 && f.announcing != missing {
			f.wrong++
		}
	default:
		f.silent += missing
	}
	f.announced = false
	s.next = n + 1
}

// take understands the bytes that arrived and returns an error when the stream cannot go on.
func (g *Generator) take(s *stream, b []byte, now int64) error {
	if s.phase == inHeader {
		s.carry = append(s.carry, b...)
		h, err := parseHeader(s.carry)
		if err != nil || h.length == 0 {
			return err
		}
		if h.status != g.config.status() {
			return fmt.Errorf("open stream: status %d", h.status)
		}
		b, s.carry = s.carry[h.length:], nil
		s.chunked = h.chunked
		if g.config.WebSocket {
			s.phase = greeting
		} else {
			g.opened(s, now)
		}
	}
	if s.chunked {
		var err error
		if b, err = s.chunks.decode(b); err != nil {
			return err
		}
	}
	if len(s.carry) > 0 {
		s.carry = append(s.carry, b...)
		b = s.carry
	}
	var rest []byte
	var err error
	if g.config.WebSocket {
		rest, err = g.takeFrames(s, b, now)
	} else {
		rest = g.takeEvents(s, b, now)
	}
	if len(rest) == 0 {
		s.carry = nil
	} else {
		s.carry = append(s.carry[:0], rest...)
	}
	return err
}

func (g *Generator) takeEvents(s *stream, b []byte, now int64) (rest []byte) {
	for {
		end := bytes.Index(b, []byte("\n\n"))
		if end < 0 {
			return b
		}
		g.see(s, parseEvent(b[:end]), now)
		b = b[end+2:]
	}
}

func (g *Generator) takeFrames(s *stream, b []byte, now int64) (rest []byte, err error) {
	for {
		f := parseFrame(b)
		if f.length == 0 {
			return b, nil
		}
		b = b[f.length:]
		switch {
		case f.opcode == 8:
			return nil, fmt.Errorf("read stream: closed by the server")
		case f.opcode != 1 || len(f.payload) == 0:
		case f.payload[0] == '0': // Engine.IO has opened: ask for Socket.IO's default namespace
			err = g.send(s, textFrame("40"))
		case f.payload[0] == '2': // Engine.IO's ping wants a pong
			err = g.send(s, textFrame("3"))
		case s.phase == greeting && bytes.HasPrefix(f.payload, []byte("40")):
			g.opened(s, now)
		default:
			g.see(s, parsePacket(f.payload), now)
		}
		if err != nil {
			return nil, err
		}
	}
}

// see counts an event that arrived.
func (g *Generator) see(s *stream, e event, now int64) {
	if e.kind == other {
		return
	}
	g.events++
	switch e.kind {
	case count:
		g.heard(s, e.value, now)
	case gap:
		s.fate.announced, s.fate.announcing = true, e.value
	case measured:
		if !s.stalled {
			g.delivered++
			g.lastDelivery = now
			g.latency.add(now - e.sent)
		}
		s.note(e.value)
	}
}

// send writes the few bytes of a request or an answer; they always fit into an empty send buffer.
func (g *Generator) send(s *stream, b []byte) error {
	n, err := unix.Write(s.fd, b)
	if err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	if n < len(b) {
		return fmt.Errorf("write request: %d of %d bytes", n, len(b))
	}
	return nil
}
