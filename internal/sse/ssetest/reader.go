// Package ssetest reads event streams in tests. It shares nothing with the encoder,
// so that a mistake in one is not a mistake in both.
package ssetest

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// Event is what a browser would dispatch.
type Event struct{ ID, Name, Data string }

// Block is what stands between two empty lines.
type Block struct {
	Event               // as dispatched, if Dispatched
	Dispatched bool     // it has data
	Retry      string   // digits, "" if there is none
	Comments   int      // comment lines
	Unknown    []string // lines that are ignored
}

// Reader reads a stream as WHATWG HTML, 9.2.6 "Interpreting an event stream" has it,
// line by line, as the bytes come.
type Reader struct {
	in     *bufio.Reader
	began  bool
	wasCR  bool
	lastID string
}

// NewReader returns a reader of the stream r.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReader(r)} }

// Next returns the next event, or the error that ended the stream. "Once the end of
// the file is reached, any pending data must be discarded."
func (r *Reader) Next() (Event, error) {
	for {
		b, err := r.Block()
		if err != nil || b.Dispatched {
			return b.Event, err
		}
	}
}

// LastEventID returns the cursor that the stream has left its reader with so far.
func (r *Reader) LastEventID() string { return r.lastID }

// Block returns the next block, dispatched or not.
func (r *Reader) Block() (Block, error) {
	var b Block
	var data, name string
	for {
		line, err := r.line()
		if err != nil {
			return Block{}, err
		}
		if line == "" {
			break
		}
		// "Collect the characters on the line before the first U+003A COLON", "after",
		// "If value starts with a U+0020 SPACE character, remove it from value."
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			b.Comments++
		case "event":
			name = value
		case "data":
			data += value + "\n"
		case "id":
			if !strings.Contains(value, "\x00") {
				r.lastID = value
			}
		case "retry":
			if value != "" && strings.Trim(value, "0123456789") == "" {
				b.Retry = value
			}
		default:
			b.Unknown = append(b.Unknown, line)
		}
	}
	if data != "" {
		if name == "" {
			name = "message"
		}
		b.Event = Event{ID: r.lastID, Name: name, Data: strings.TrimSuffix(data, "\n")}
		b.Dispatched = true
	}
	return b, nil
}

// line returns the next line. It does not wait for what follows a CR.
func (r *Reader) line() (string, error) {
	if !r.began {
		r.began = true
		// "one leading U+FEFF BYTE ORDER MARK character is ignored"
		if c, _, err := r.in.ReadRune(); err == nil && c != '\uFEFF' {
			_ = r.in.UnreadRune()
		}
	}
	var line []byte
	for {
		if _, err := r.in.Peek(1); err != nil { // waits for one byte
			return "", err
		}
		come, _ := r.in.Peek(r.in.Buffered())
		if r.wasCR {
			r.wasCR = false
			if come[0] == '\n' {
				_, _ = r.in.Discard(1)
				continue
			}
		}
		end := bytes.IndexAny(come, "\r\n")
		if end < 0 {
			line = append(line, come...)
			_, _ = r.in.Discard(len(come))
			continue
		}
		line = append(line, come[:end]...)
		r.wasCR = come[end] == '\r'
		_, _ = r.in.Discard(end + 1)
		return text(line), nil
	}
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
