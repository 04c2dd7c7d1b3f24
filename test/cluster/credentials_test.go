package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"headcount/test/rig"
)

// A node connects to NATS over TLS, with a client certificate, a password, a token or an nkey, even if one of the
// servers is down. With a wrong password it logs an error. No secret appears anywhere.
func TestCredentials(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	config := certificates(t, dir)
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	if err := os.WriteFile(filepath.Join(dir, "nkey"), seed, 0o600); err != nil {
		t.Fatal(err)
	}
	files := "?ca=" + filepath.Join(dir, "ca.pem")
	own := "&cert=" + filepath.Join(dir, "cert.pem") + "&key=" + filepath.Join(dir, "key.pem")
	password := func(o *server.Options) { o.Username, o.Password = "me", "hunter2@&," }
	for _, row := range []struct {
		name   string
		server func(*server.Options)
		url    string // HOST is where the server is
		wrong  bool
	}{
		{"password", password, "nats://me:hunter2%40&%2C@HOST", false},
		{"token", func(o *server.Options) { o.Authorization = "hunter2" }, "nats://hunter2@HOST", false},
		{"nkey", func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} }, "nats://HOST?nkey=" + filepath.Join(dir, "nkey"), false},
		{"TLS", func(o *server.Options) { o.TLSConfig = config.Clone() }, "tls://HOST" + files, false},
		{"certificates on both sides", func(o *server.Options) {
			o.TLSConfig = config.Clone()
			o.TLSConfig.ClientAuth = tls.RequireAndVerifyClientCert
			o.TLSVerify = true
		}, "tls://HOST" + files + own, false},
		{"the first of two is away", password, "nats://me:hunter2%40&%2C@127.0.0.1:1,nats://me:hunter2%40&%2C@HOST", false},
		{"wrong password", password, "nats://me:hunter3%40&@HOST", true},
		{"a certificate that nobody knows", func(o *server.Options) { o.TLSConfig = config.Clone() }, "tls://HOST", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			addr := rig.FreeAddr(t)
			opts := &server.Options{Port: portOf(addr), JetStream: true, StoreDir: t.TempDir()}
			row.server(opts)
			opts.TLS = opts.TLSConfig != nil
			_, stop := runNATS(t, opts)
			n := startNode(t, strings.ReplaceAll(row.url, "HOST", addr))
			if row.wrong {
				time.Sleep(3 * time.Second) // several attempts
				if got := status(n.URL + "/readyz"); got != http.StatusServiceUnavailable {
					t.Errorf("/readyz: got %d, want 503", got)
				}
				if lines := strings.Count(n.log.String(), "\n"); lines > 20 {
					t.Errorf("got %d lines in the log in 3 s, want few", lines)
				}
			} else {
				n.ready(t)
				mustEmit(t, n.URL, "lobby", "n", "1")
			}
			_, answer, _ := emit(n.URL, "lobby", "n", "1", "")
			for _, text := range []string{n.log.String(), answer.Error} {
				if strings.Contains(text, "hunter") || strings.Contains(text, string(seed)) {
					t.Errorf("a secret in %q", text)
				}
			}
			if row.wrong && opts.Password != "" { // it was on its way to the servers
				stop()
				startNATS(t, portOf(addr), t.TempDir())
				n.ready(t)
			}
		})
	}
}

// certificates writes ca.pem, and a cert.pem and key.pem for 127.0.0.1 that it has signed. It returns the TLS
// configuration of a server.
func certificates(t *testing.T, dir string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "headcount test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &form, &form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for name, data := range map[string][]byte{"ca.pem": certPEM, "cert.pem": certPEM, "key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(certPEM)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: known, MinVersion: tls.VersionTLS12}
}

// If NATS has no JetStream, the log and /readyz say so.
func TestNoJetStream(t *testing.T) {
	addr := rig.FreeAddr(t)
	runNATS(t, &server.Options{Port: portOf(addr)})
	n := startNode(t, "nats://"+addr)
	rig.Wait(t, 10*time.Second, "the cure in the log", func() bool { return strings.Contains(n.log.String(), "start it with nats-server -js") })
	resp, err := http.Get(n.URL + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	words, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(words), "NATS has no JetStream") {
		t.Errorf("/readyz: got %s %s, %v, want 503 and that JetStream is missing", resp.Status, words, err)
	}
}
