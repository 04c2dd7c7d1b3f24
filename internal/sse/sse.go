// Package sse is the wire format of Server-Sent Events. It encodes events, and checks the names of events, rooms and
// clients.
//
// The event is [github.com/r3labs/sse/v2.Event], on both sides of the wire. The terminal client uses the decoder of
// that library too. The encoder is ours, because theirs does not split data at line ends, so that data could forge
// events.
package sse

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	r3labs "github.com/r3labs/sse/v2"
)

// Event is one event of a stream. ID, Event and Comment must not hold CR, LF or NUL. [CheckName] and the code that
// makes ids ensure this. Data may be any bytes.
type Event = r3labs.Event

// Append appends e in the form of WHATWG HTML, "Server-sent events", and returns the extended slice. It leaves out
// fields that are nil. A client does not dispatch an event without Data, so use an empty, non-nil slice to send "".
func Append(dst []byte, e *Event) []byte {
	dst = appendField(dst, "", e.Comment)
	dst = appendField(dst, "retry", e.Retry)
	dst = appendField(dst, "id", e.ID)
	dst = appendField(dst, "event", e.Event)
	if e.Data != nil {
		dst = appendData(dst, e.Data)
	}
	return append(dst, '\n')
}

func appendField(dst []byte, name string, value []byte) []byte {
	if value == nil {
		return dst
	}
	dst = append(dst, name...)
	// "If value starts with a U+0020 SPACE character, remove it from value". So always sending one keeps a space at the
	// start of the value itself.
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, '\n')
}

// appendData writes a data line per line of p. "Lines must be separated by either a CRLF pair, a single LF, or a single
// CR". Each of the three ends a line here, so nothing in p can begin another field.
func appendData(dst, p []byte) []byte {
	for {
		end := bytes.IndexAny(p, "\r\n")
		if end < 0 {
			return appendField(dst, "data", p[:len(p):len(p)])
		}
		dst = appendField(dst, "data", p[:end:end])
		if p[end] == '\r' && end+1 < len(p) && p[end+1] == '\n' {
			end++
		}
		p = p[end+1:]
	}
}

// AppendRetry appends the reconnection time, in milliseconds on the wire, as a field of the block that follows. It ends
// no block of its own, because some clients take a block without data for an event, see docs/decisions/0032.
func AppendRetry(dst []byte, d time.Duration) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, d.Milliseconds(), 10)
	return append(dst, '\n')
}

// Comment is a comment line. It is the heartbeat of clients without a client id. Like a retry time it ends no block.
const Comment = ":\n"

// SetLastID gives the last event of text another id. All of text must be written by [Append] and [AppendRetry]. It
// returns false if there is no event.
func SetLastID(text []byte, id string) ([]byte, bool) {
	before := bytes.TrimSuffix(text, []byte("\n\n"))
	begin := bytes.LastIndex(before, []byte("\n\n")) + 1
	// The id comes before the data, so the first such line is the id.
	at := bytes.Index(text[begin:], []byte("\nid: "))
	switch {
	case begin == 0 && bytes.HasPrefix(text, []byte("id: ")):
	case at < 0:
		return text, false
	default:
		begin += at + 1
	}
	end := begin + bytes.IndexByte(text[begin:], '\n')
	return slices.Replace(text, begin, end, []byte("id: "+id)...), true
}

// AppendChunk appends p as one chunk of RFC 9112, section 7.1. It appends nothing for an empty p, because a chunk of
// length zero would end the response.
func AppendChunk(dst, p []byte) []byte {
	if len(p) == 0 {
		return dst
	}
	dst = strconv.AppendInt(dst, int64(len(p)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, p...)
	return append(dst, "\r\n"...)
}

// LastChunk ends a chunked response.
const LastChunk = "0\r\n\r\n"
