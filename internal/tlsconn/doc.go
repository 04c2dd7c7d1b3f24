// Package tlsconn takes the writing side of a TLS 1.3 connection away from crypto/tls, so that a stream over TLS costs
// little more than a plain one: a key, an IV and a sequence number instead of a tls.Conn with its buffers and goroutines.
//
// crypto/tls does the handshake. [NewListener] puts a [Conn] under each tls.Conn. It remembers the traffic secret of the
// server and, once asked, the last record that was written. [Prove] decrypts that record: the sequence number that opens
// it is the last one which was used, so the next one was not. From then on a [Sealer] makes the records and the tls.Conn
// writes no more. docs/decisions/0040-tls-takeover.md has the argument why no nonce is used twice.
package tlsconn
