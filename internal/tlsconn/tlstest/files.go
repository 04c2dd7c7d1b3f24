package tlstest

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// Files returns the files of a new certificate for 127.0.0.1 and of its key.
func Files(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	server, _ := Configs(t)
	cert := server.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, block *pem.Block) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", &pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), write("key.pem", &pem.Block{Type: "PRIVATE KEY", Bytes: key})
}

// Options returns the options of the server for TLS with [Files].
func Options(t testing.TB) []string {
	t.Helper()
	cert, key := Files(t)
	return []string{"-tls-cert", cert, "-tls-key", key}
}

// Link is a kind of connection to a server that is started with -h2c.
type Link struct {
	Name      string
	TLS       bool
	Protocols *http.Protocols // of the client
}

// Links returns all kinds.
func Links() []Link {
	one, two := new(http.Protocols), new(http.Protocols)
	one.SetHTTP1(true)
	two.SetHTTP2(true)
	two.SetUnencryptedHTTP2(true)
	return []Link{{"plain", false, one}, {"TLS", true, one}, {"HTTP2", true, two}, {"h2c", false, two}}
}

// Options returns the options of the server for such connections.
func (l Link) Options(t testing.TB) []string {
	t.Helper()
	if !l.TLS {
		return []string{"-h2c"}
	}
	return append(Options(t), "-h2c")
}
