package remote

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// MaxEvent is the longest event to read, in bytes. It is far more than the 64 KiB that a server accepts by default.
const MaxEvent = 16 << 20

// WholeEvents passes on the complete blocks of an event stream, with LF as the end of every line. The parser of
// r3labs/sse dispatches the rest when a connection breaks, and would use half an id as a cursor. But the standard says:
// "Once the end of the file is reached, any pending data must be discarded." That parser also accepts only the data
// field without a colon, and accepts every id.
type WholeEvents struct {
	r     io.Reader
	err   error
	chunk [4096]byte
	block []byte // the block that is not complete yet
	line  int    // start of its last line
	ready []byte // complete blocks that are not read yet
	begun bool   // the first line is complete
	blank bool   // the current line is empty so far
	cr    bool   // the last byte was CR, so a following LF belongs to it
}

func NewWholeEvents(r io.Reader) *WholeEvents { return &WholeEvents{r: r, blank: true} }

func (w *WholeEvents) Read(p []byte) (int, error) {
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

func (w *WholeEvents) take(p []byte) {
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
		case len(w.block) >= MaxEvent:
			w.err = ErrTooLong
			return
		default:
			w.block = append(w.block, c)
			w.blank = false
		}
	}
}

func (w *WholeEvents) endLine() {
	if !w.begun {
		// "leading U+FEFF BYTE ORDER MARK characters" do not belong to the first line.
		w.block = bytes.TrimPrefix(w.block, []byte("\uFEFF"))
		w.begun = true
	}
	line := w.block[w.line:]
	switch {
	case bytes.HasPrefix(line, []byte("id:")) && bytes.ContainsFunc(line, unicode.IsControl):
		// "If the field value does not contain U+0000 NULL". An id that is invalid in a header cannot be sent back
		// either.
		w.block = w.block[:w.line]
	case !bytes.Contains(line, []byte(":")):
		// "the whole line as the field name, and the empty string as the field value"
		w.block = append(w.block, ":\n"...)
	default:
		w.block = append(w.block, '\n')
	}
	w.line = len(w.block)
}

func (w *WholeEvents) complete() {
	w.begun = true
	w.ready = append(append(w.ready, w.block...), '\n')
	w.block, w.line = w.block[:0], 0
}

// Block is one event or comment as it was received.
type Block struct {
	Name, ID, Data string
	At             time.Time
}

// Asks reports whether the server asks for answers to its pings.
func (b *Block) Asks() bool {
	var signal struct{ Ping float64 }
	return json.Unmarshal([]byte(b.Data), &signal) == nil && signal.Ping > 0
}

// ReadBlocks calls got for each complete block of an event stream until the stream ends.
func ReadBlocks(r io.Reader, got func(Block)) error {
	in := bufio.NewReader(NewWholeEvents(r))
	var b Block
	for {
		line, err := in.ReadString('\n')
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read stream: %w", err)
		case line == "\n":
			b.At = time.Now()
			got(b)
			b = Block{}
			continue
		}
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch key {
		case "event":
			b.Name = value
		case "id":
			b.ID = value
		case "data":
			b.Data = value
		}
	}
}

// Value returns data as JSON in one line. Text that is not JSON becomes a string, and the error says why it is not
// JSON.
func Value(data []byte) (json.RawMessage, error) {
	var b bytes.Buffer
	notJSON := json.Compact(&b, data)
	if notJSON == nil {
		return b.Bytes(), nil
	}
	b.Reset()
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(string(data)); err != nil {
		return nil, err // cannot happen, because every string can be encoded
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), notJSON
}
