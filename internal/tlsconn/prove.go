package tlsconn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// Errors of [Watch] and [Proof.Sealer]. The connection still works after them.
var (
	ErrForeign  = errors.New("the connection is not from a listener of headcount")
	ErrVersion  = errors.New("the connection is older than TLS 1.3")
	ErrCipher   = errors.New("the cipher suite is not known")
	ErrUnproven = errors.New("the last record does not open with the keys of the connection")
)

// Proof is a takeover that has begun.
type Proof struct {
	conn  *Conn
	suite uint16
}

// Below returns the connection that [NewListener] got.
func Below(c *tls.Conn) (net.Conn, error) {
	conn, ok := c.NetConn().(*Conn)
	if !ok {
		return nil, ErrForeign
	}
	return conn.Conn, nil
}

// Watch starts the takeover of the writing side of c. Nothing else may read from c or write to it from now on, because
// a read could answer a KeyUpdate. Then write through c and call [Proof.Sealer].
func Watch(c *tls.Conn) (*Proof, error) {
	conn, ok := c.NetConn().(*Conn)
	if !ok {
		return nil, ErrForeign
	}
	state := c.ConnectionState()
	if state.Version != tls.VersionTLS13 {
		return nil, ErrVersion
	}
	if _, ok := suiteOf(state.CipherSuite); !ok {
		return nil, ErrCipher
	}
	conn.watch()
	return &Proof{conn, state.CipherSuite}, nil
}

// candidates is how many sequence numbers are tried. The number of records and the last sequence number differ by what
// the server sends under its handshake key, which is encrypted extensions, certificate, certificate verify and
// finished.
const candidates = 16

// Sealer returns a sealer for the records after the last written one. written is all that went through the tls.Conn
// since [Watch]. Unless there is an error, do not use the tls.Conn any more, and do not even close it. Close the
// connection below it.
//
// Sealer decrypts the last record with the last possible sequence numbers, one after another. If one of them opens it
// and the plaintext is the end of written, then the keys are right, that number is used, and no higher number is.
func (p *Proof) Sealer(written []byte) (*Sealer, error) {
	secret, last, records := p.conn.take()
	defer secret.wipe()
	if secret == nil {
		return nil, fmt.Errorf("%w: there is no secret", ErrUnproven)
	}
	s, err := newSealer(p.suite, secret.bytes, 0)
	if err != nil {
		return nil, errors.Join(ErrCipher, err)
	}
	for seq := records; seq > 0 && records-seq < candidates; {
		seq--
		text, contentType, ok := s.open(last, seq)
		if !ok {
			continue
		}
		if contentType != typeApplication || len(text) == 0 || !bytes.HasSuffix(written, text) {
			break
		}
		s.seq = seq + 1
		s.Drop()
		return s, nil
	}
	s.Wipe()
	return nil, ErrUnproven
}
