package tlsconn

import (
	"bytes"
	"encoding/hex"
	"net"
	"sync"
)

// Conn is the connection below a tls.Conn that [NewListener] made. It counts the records that go through it.
type Conn struct {
	redacted // fmt follows one pointer of an unexported field if the verb is wrong
	net.Conn
	begun bool // something was read; only the goroutine that reads uses it

	mu      sync.Mutex
	secret  *secret // nil until the handshake has it, and always without TLS 1.3
	records uint64  // protected records since then, at least those sealed with the secret
	header  [headerLen]byte
	have    int    // known bytes of the header
	left    int    // bytes of the record that are still to come
	keep    bool   // last is needed
	last    []byte // the last written record, including its header
}

// secret is SERVER_TRAFFIC_SECRET_0 of one connection.
type secret struct {
	redacted
	bytes []byte
}

func (s *secret) wipe() {
	if s != nil {
		clear(s.bytes)
	}
}

// Read answers a client that does not speak TLS.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.begun && n > 0 {
		c.begun = true
		if speaksHTTP(p[:n]) {
			answerPlain(c.Conn)
			return 0, errPlain
		}
	}
	return n, err
}

// Write counts the records in p.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(p[:n])
	return n, err
}

// note follows the records, no matter where writes cut them.
func (c *Conn) note(p []byte) {
	for len(p) > 0 {
		if c.left == 0 {
			n := copy(c.header[c.have:], p)
			c.have += n
			p = p[n:]
			if c.have < headerLen {
				return
			}
			c.have, c.left = 0, int(c.header[3])<<8|int(c.header[4])
			if c.header[0] == typeApplication {
				c.records++
			}
			if c.keep {
				c.last = append(c.last[:0], c.header[:]...)
			}
		}
		n := min(c.left, len(p))
		if c.keep {
			c.last = append(c.last, p[:n]...)
		}
		p, c.left = p[n:], c.left-n
	}
}

// watch starts to keep the last written record.
func (c *Conn) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep = true
}

// take returns the secret, the last record, and the number of records. The connection keeps none of it.
func (c *Conn) take() (*secret, []byte, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, last := c.secret, c.last
	if c.left > 0 || c.have > 0 {
		last = nil // it is not complete
	}
	c.secret, c.last, c.keep = nil, nil, false
	return s, last, c.records
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.secret.wipe()
	c.secret = nil
	c.mu.Unlock()
	return c.Conn.Close()
}

// keyLog is the tls.Config.KeyLogWriter of one connection. It keeps the one secret that sealing needs.
type keyLog struct{ conn *Conn }

const secretLabel = "SERVER_TRAFFIC_SECRET_0 "

// Write takes a line of the SSLKEYLOGFILE format, which has a label, the client random and the secret.
func (k keyLog) Write(line []byte) (int, error) {
	rest, ok := bytes.CutPrefix(line, []byte(secretLabel))
	if !ok {
		return len(line), nil
	}
	_, text, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	s := &secret{bytes: make([]byte, hex.DecodedLen(len(text)))}
	if _, err := hex.Decode(s.bytes, text); err != nil {
		return len(line), nil // without the secret there is no takeover
	}
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	k.conn.secret, k.conn.records = s, 0
	return len(line), nil
}
