package tlsconn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// Errors of [Watch] and [Proof.Sealer]. The connection works on.
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

// Watch begins to take over the writing side of c. Nobody else may read from c or write to it from now on: a reader could
// answer a KeyUpdate. Then write through c and call [Proof.Sealer].
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

// candidates is how many sequence numbers are tried. Those of the last record and of the records before it differ by what
// the server sends under its handshake key: encrypted extensions, certificate, its proof, finished.
const candidates = 16

// Sealer returns what makes the records behind the one that was written last. written is all that went through the
// tls.Conn since [Watch]. Unless there is an error, the tls.Conn must not be used any more, not even be closed: close what
// is below it.
//
// The record that the connection saw last is decrypted with the last possible sequence numbers, one after another. If one
// of them opens it and gives the end of written, then the keys are the right ones, that number is used, and no higher one.
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
