// Package tlsconn takes over the writing side of a TLS 1.3 connection from crypto/tls, so that a stream over TLS costs
// little more than a plain one. The stream then needs a key, an IV and a sequence number instead of a tls.Conn with its
// buffers and goroutines.
//
// crypto/tls does the handshake. [NewListener] puts a [Conn] under each tls.Conn. It keeps the traffic secret of the
// server and, after [Watch], the last record that was written. [Proof.Sealer] decrypts that record. The sequence number
// that opens it is the last one which was used, so the next one was not used yet. From then on a [Sealer] makes the
// records and the tls.Conn writes no more. docs/decisions/0040-tls-takeover.md explains why no nonce is used twice.
package tlsconn
