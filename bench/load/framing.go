package load

import (
	"bytes"
	"errors"
	"strconv"
)

// A header is what the generator wants to know of a response's header.
type header struct {
	status  int
	chunked bool
	length  int // of the header with its empty line
}

var errHeader = errors.New("parse response: not an HTTP/1 header")

// parseHeader returns a header of length 0 as long as the empty line has not come.
func parseHeader(b []byte) (header, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return header{}, nil
	}
	if len(b) < len("HTTP/1.1 200") || !bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return header{}, errHeader
	}
	status, err := strconv.Atoi(string(b[9:12]))
	if err != nil {
		return header{}, errHeader
	}
	return header{
		status:  status,
		chunked: bytes.Contains(bytes.ToLower(b[:end]), []byte("transfer-encoding: chunked")),
		length:  end + 4,
	}, nil
}

// chunks takes the framing of Transfer-Encoding: chunked off a response, whatever pieces it comes in.
type chunks struct {
	left  int  // bytes of the present chunk that have not come
	size  int  // of the chunk whose size line is being read
	state byte // one of the below
	ended bool // the last chunk has come
}

const (
	inSize = iota // reading hexadecimal digits
	inLine        // skipping to the end of the size line
	inData
	inEnd // skipping the line end after the data
)

var errChunk = errors.New("parse response: bad chunk size")

// decode returns what b holds of the body. It writes over b.
func (c *chunks) decode(b []byte) ([]byte, error) {
	body := b[:0]
	for len(b) > 0 && !c.ended {
		if c.state == inData {
			n := min(c.left, len(b))
			body = append(body, b[:n]...)
			b = b[n:]
			if c.left -= n; c.left == 0 {
				c.state = inEnd
			}
			continue
		}
		ch := b[0]
		b = b[1:]
		switch {
		case c.state == inEnd:
			if ch == '\n' {
				c.state, c.size = inSize, 0
			}
		case ch == '\n':
			c.left, c.state = c.size, inData
			c.ended = c.size == 0
		case c.state == inLine || ch == '\r' || ch == ';':
			c.state = inLine
		default:
			digit := hexDigit(ch)
			if digit < 0 || c.size > 1<<24 {
				return body, errChunk
			}
			c.size = c.size<<4 + digit
		}
	}
	return body, nil
}

func hexDigit(ch byte) int {
	switch {
	case '0' <= ch && ch <= '9':
		return int(ch - '0')
	case 'a' <= ch && ch <= 'f':
		return int(ch-'a') + 10
	case 'A' <= ch && ch <= 'F':
		return int(ch-'A') + 10
	}
	return -1
}

// A frame is one unmasked WebSocket frame as servers send it.
type frame struct {
	opcode  byte
	payload []byte
	length  int // with its header; 0: not all of it has come
}

func parseFrame(b []byte) frame {
	if len(b) < 2 {
		return frame{}
	}
	start, size := 2, int(b[1]&0x7f)
	switch {
	case size == 126 && len(b) >= 4:
		start, size = 4, int(b[2])<<8|int(b[3])
	case size == 127 && len(b) >= 10:
		start, size = 10, int(b[6])<<24|int(b[7])<<16|int(b[8])<<8|int(b[9])
	case size >= 126:
		return frame{}
	}
	if len(b) < start+size {
		return frame{}
	}
	return frame{opcode: b[0] & 0x0f, payload: b[start : start+size], length: start + size}
}

// textFrame is a short text frame as clients send it, with a mask of zeros.
func textFrame(text string) []byte {
	return append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
}
