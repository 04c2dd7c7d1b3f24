package main

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
	"unicode"
)

// maxEvent is the longest event that is read, in bytes: far more than the 64 KiB that a server takes by default.
const maxEvent = 16 << 20

var errTooLong = errors.New("an event of more than 16 MiB came")

// wholeEvents passes on the blocks of an event stream that are complete, with LF as the end of every line. The parser of
// r3labs/sse dispatches what is left when a connection breaks, and would take half an id for a cursor; the standard says:
// "Once the end of the file is reached, any pending data must be discarded." That parser also knows no field without a
// colon but data, and takes every id.
type wholeEvents struct {
	r     io.Reader
	err   error
	chunk [4096]byte
	block []byte // the block that is not complete yet
	line  int    // where its last line begins
	ready []byte // complete blocks that are not read yet
	begun bool   // the first line is complete
	blank bool   // the line that is being read is empty so far
	cr    bool   // the last byte was CR, so LF belongs to it
}

func newWholeEvents(r io.Reader) *wholeEvents { return &wholeEvents{r: r, blank: true} }

func (w *wholeEvents) Read(p []byte) (int, error) {
	for len(w.ready) == 0 {
		if w.err != nil {
			return 0, w.err
		}
		n, err := w.r.Read(w.chunk[:])
		w.err = err
		w.ready = w.ready[:0]
		w.take(w.chunk[:n])
	}
	n := copy(p, w.ready)
	w.ready = w.ready[n:]
	return n, nil
}

func (w *wholeEvents) take(p []byte) {
	for _, c := range p {
		secondHalf := c == '\n' && w.cr
		w.cr = c == '\r'
		switch {
		case secondHalf:
		case c == '\n' || c == '\r':
			if w.blank {
				w.complete()
			} else {
				w.endLine()
			}
			w.blank = true
		case len(w.block) >= maxEvent:
			w.err = errTooLong
			return
		default:
			w.block = append(w.block, c)
			w.blank = false
		}
	}
}

func (w *wholeEvents) endLine() {
	if !w.begun {
		// "leading U+FEFF BYTE ORDER MARK characters" are no part of the first line.
		w.block = bytes.TrimPrefix(w.block, []byte("\uFEFF"))
		w.begun = true
	}
	line := w.block[w.line:]
	switch {
	case bytes.HasPrefix(line, []byte("id:")) && bytes.ContainsFunc(line, unicode.IsControl):
		// "If the field value does not contain U+0000 NULL": and what else cannot go into a header cannot come back.
		w.block = w.block[:w.line]
	case !bytes.Contains(line, []byte(":")):
		// "the whole line as the field name, and the empty string as the field value"
		w.block = append(w.block, ":\n"...)
	default:
		w.block = append(w.block, '\n')
	}
	w.line = len(w.block)
}

func (w *wholeEvents) complete() {
	w.begun = true
	w.ready = append(append(w.ready, w.block...), '\n')
	w.block, w.line = w.block[:0], 0
}

// watchdog calls bark when a read takes longer than the limit: then nothing came, not even a comment. The time between
// two reads, in which the reader itself is busy, does not count.
type watchdog struct {
	timer *time.Timer

	mu      sync.Mutex
	limit   time.Duration
	waiting bool
}

// newWatchdog returns a watchdog that is waiting already: for the answer to the request.
func newWatchdog(limit time.Duration, bark func()) *watchdog {
	return &watchdog{timer: time.AfterFunc(limit, bark), limit: limit, waiting: true}
}

func (d *watchdog) wait(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = on
	if on {
		d.timer.Reset(d.limit)
	} else {
		d.timer.Stop()
	}
}

// setLimit changes the limit, also of a read that waits already.
func (d *watchdog) setLimit(limit time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = limit
	if d.waiting {
		d.timer.Reset(limit)
	}
}

// watched is a response body whose reads the watchdog times.
type watched struct {
	io.ReadCloser
	dog *watchdog
}

func (w *watched) Read(p []byte) (int, error) {
	w.dog.wait(true)
	n, err := w.ReadCloser.Read(p)
	w.dog.wait(false)
	return n, err
}

// body is what the parser reads: the whole events of a watched response.
type body struct {
	io.Reader
	io.Closer
}

func newBody(resp io.ReadCloser, dog *watchdog) io.ReadCloser {
	w := &watched{resp, dog}
	return &body{newWholeEvents(w), w}
}
