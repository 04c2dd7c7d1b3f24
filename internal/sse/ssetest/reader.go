// Package ssetest reads event streams in tests. It shares no code with the encoder, so that a mistake in one is not a
// mistake in both.
package ssetest

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// Event is what a browser would dispatch.
type Event struct{ ID, Name, Data string }

// Block is the text between two empty lines.
type Block struct {
	Event               // as dispatched, if Dispatched
	Dispatched bool     // it has data
	Retry      string   // digits, "" if there is none
	Comments   int      // comment lines
	Unknown    []string // lines that are ignored
}

// Reader reads a stream line by line as it arrives, as WHATWG HTML, 9.2.6 "Interpreting an event stream" requires.
type Reader struct {
	in     io.Reader
	buffer []byte // storage of rest
	rest   []byte // received and not read yet
	err    error  // follows rest
	began  bool
	wasCR  bool
	lastID string
	name   string // last event name; most events have the same name as the previous one
}

// NewReader returns a reader of the stream r.
func NewReader(r io.Reader) *Reader { return &Reader{in: r, buffer: make([]byte, 4<<10)} }

// Next returns the next event, or the error that ended the stream. "Once the end of the file is reached, any pending
// data must be discarded."
func (r *Reader) Next() (Event, error) {
	for {
		b, err := r.Block()
		if err != nil || b.Dispatched {
			return b.Event, err
		}
	}
}

// LastEventID returns the cursor after the events so far.
func (r *Reader) LastEventID() string { return r.lastID }

// Block returns the next block, dispatched or not. At the end of the stream it returns the error together with the text
// after the last empty line. Clients do not dispatch that text, but they obey a retry time in it.
func (r *Reader) Block() (Block, error) {
	var b Block
	name := ""
	for {
		line, err := r.line()
		if err != nil {
			return b, err
		}
		if len(line) == 0 {
			break
		}
		// "Collect the characters on the line before the first U+003A COLON", "after",
		// "If value starts with a U+0020 SPACE character, remove it from value."
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "":
			b.Comments++
		case "event":
			if string(value) != r.name {
				r.name = text(value)
			}
			name = r.name
		case "data":
			if b.Dispatched {
				b.Data += "\n"
			}
			b.Data += text(value)
			b.Dispatched = true
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				r.lastID = text(value)
			}
		case "retry":
			if len(value) > 0 && len(bytes.Trim(value, "0123456789")) == 0 {
				b.Retry = string(value)
			}
		default:
			b.Unknown = append(b.Unknown, text(line))
		}
	}
	if b.Dispatched {
		if name == "" {
			name = "message"
		}
		b.ID, b.Name = r.lastID, name
	}
	return b, nil
}

// Line returns the next line. Use it for lines that end no block, such as comments.
func (r *Reader) Line() (string, error) {
	line, err := r.line()
	return string(line), err
}

// line returns the next line, which is valid until the next call. It does not wait for the byte after a CR.
func (r *Reader) line() ([]byte, error) {
	for seen := 0; ; {
		if r.wasCR && len(r.rest) > 0 {
			r.wasCR = false
			r.rest = bytes.TrimPrefix(r.rest, []byte("\n"))
		}
		if end := bytes.IndexAny(r.rest[seen:], "\r\n"); end >= 0 {
			line := r.rest[:seen+end]
			r.wasCR = r.rest[seen+end] == '\r'
			r.rest = r.rest[seen+end+1:]
			if !r.began {
				r.began = true
				line = bytes.TrimPrefix(line, []byte("\uFEFF")) // "one leading U+FEFF BYTE ORDER MARK character is ignored"
			}
			return line, nil
		}
		seen = len(r.rest)
		if r.err != nil {
			return nil, r.err
		}
		r.fill()
	}
}

// fill reads more bytes.
func (r *Reader) fill() {
	if len(r.rest) == len(r.buffer) {
		r.buffer = make([]byte, 2*len(r.buffer))
	}
	kept := copy(r.buffer, r.rest)
	n, err := r.in.Read(r.buffer[kept:])
	r.rest, r.err = r.buffer[:kept+n], err
}

// text decodes UTF-8 "with replacement".
func text(p []byte) string {
	if utf8.Valid(p) {
		return string(p)
	}
	return string([]rune(string(p)))
}

// Parse returns all events of a stream that has ended.
func Parse(stream []byte) []Event {
	r := NewReader(strings.NewReader(string(stream)))
	var events []Event
	for {
		e, err := r.Next()
		if err != nil {
			return events
		}
		events = append(events, e)
	}
}
