package tlsconn

import "net"

// NewSealer lets tests seal and open with their own secret.
func NewSealer(suite uint16, secret []byte, seq uint64) (*Sealer, error) {
	return newSealer(suite, secret, seq)
}

// SealAs makes a record of any content type.
func (s *Sealer) SealAs(dst, p []byte, contentType byte) []byte {
	return s.seal(dst, p, contentType, false)
}

// Open decrypts a record that was sealed with the sequence number seq.
func (s *Sealer) Open(record []byte, seq uint64) ([]byte, byte, bool) { return s.open(record, seq) }

// Seq is the sequence number of the next record.
func (s *Sealer) Seq() uint64 { return s.seq }

// Keys returns the keys, which must stay secret.
func (s *Sealer) Keys() (key, iv []byte) { return s.key[:], s.iv[:] }

// NewConn returns a connection after a handshake that wrote line to the key log.
func NewConn(c net.Conn, line []byte) *Conn {
	conn := &Conn{Conn: c}
	_, _ = keyLog{conn}.Write(line)
	conn.watch()
	return conn
}

// Last returns what [Proof.Sealer] needs in addition to the secret. It takes the secret, too.
func (c *Conn) Last() (record []byte, records uint64) {
	_, record, records = c.take()
	return record, records
}

// Secret returns the secret that a connection keeps.
func (c *Conn) Secret() any { return c.secret }

// SecretBytes returns the bytes of the secret.
func (c *Conn) SecretBytes() []byte { return c.secret.bytes }

// NewProof returns a takeover that has begun.
func NewProof(c *Conn, suite uint16) *Proof { return &Proof{c, suite} }
