package tlsconn_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"io"
	"testing"

	"headcount/internal/tlsconn/tlstest"
)

// BenchmarkHandshake measures both sides of a handshake.
func BenchmarkHandshake(b *testing.B) {
	for _, tt := range []struct {
		name   string
		change func(server, client *tls.Config)
	}{
		{"X25519", func(_, client *tls.Config) { client.CurvePreferences = []tls.CurveID{tls.X25519} }},
		{"X25519MLKEM768", func(_, _ *tls.Config) {}},
		{"X25519 and RSA", func(server, client *tls.Config) {
			client.CurvePreferences = []tls.CurveID{tls.X25519}
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				b.Fatal(err)
			}
			client.RootCAs = tlstest.Certify(b, server, key)
		}},
		{"X25519 and a ticket", func(_, client *tls.Config) {
			client.CurvePreferences = []tls.CurveID{tls.X25519}
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			server, client := tlstest.Configs(b)
			server.SetSessionTicketKeys([][32]byte{{}}) // each pair has its own listener
			tt.change(server, client)
			for b.Loop() {
				s, c := pair(b, server, client)
				if _, err := io.WriteString(s, "x"); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Read(make([]byte, 1)); err != nil { // with the ticket
					b.Fatal(err)
				}
				_, _ = s.NetConn().Close(), c.NetConn().Close()
			}
		})
	}
}
