// Package tlstest makes certificates and connections for tests.
package tlstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"
)

// Configs returns a config for a server on 127.0.0.1 with a new certificate, and one for clients that trust it.
func Configs(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	server = &tls.Config{}
	return server, &tls.Config{RootCAs: Certify(t, server, key), ServerName: "127.0.0.1"}
}

// Certify gives the server a new certificate for the key, and returns it for clients to trust.
func Certify(t testing.TB, server *tls.Config, key crypto.Signer) *x509.CertPool {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	server.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return roots
}

// Timeout is how long a connection of [Pair] works.
const Timeout = 15 * time.Second

// Pair returns both ends of a TLS connection over loopback, after its handshake. listen makes the listener of the
// server, which accepts *tls.Conn.
func Pair(t testing.TB, listen func(net.Listener) net.Listener, client *tls.Config) (s, c *tls.Conn) {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := listen(raw)
	defer l.Close()
	out, err := net.Dial("tcp", raw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c = tls.Client(out, client)
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(Timeout))
	shaken := make(chan error, 1)
	go func() { shaken <- c.Handshake() }()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s = in.(*tls.Conn)
	t.Cleanup(func() { _ = s.Close() })
	_ = s.SetDeadline(time.Now().Add(Timeout)) // a client that gives up does not close
	if err := errors.Join(s.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	return s, c
}
