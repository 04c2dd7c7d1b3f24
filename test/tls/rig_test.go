// Package tls tests streams over TLS with independent programs: OpenSSL, curl, Node, Python, Go, and browsers.
package tls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

const patience = 20 * time.Second

// server is a server with TLS, which one can ask how it writes its streams.
type server struct {
	*rig.Server
	t         *testing.T
	admin     string
	cert, key string // files
	authority string // file with the certificate of the one that signed it
	client    *http.Client
	sent      int
}

func start(t *testing.T, args ...string) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{t: t, admin: rig.FreeAddr(t), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"),
		authority: filepath.Join(dir, "authority.pem")}
	s.writeCertificate()
	s.Server = rig.Start(t, append([]string{
		"-tls-cert", s.cert, "-tls-key", s.key, "-admin", s.admin, "-token", "secret", "-linger", "0",
	}, args...)...)
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// writeCertificate writes a new certificate with a new key, and that of the new authority which has signed it.
func (s *server) writeCertificate() {
	s.t.Helper()
	begin, end := time.Now().Add(-time.Hour), time.Now().AddDate(0, 0, 7) // Firefox refuses one that began in the year 1
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "headcount test"},
		NotBefore: begin, NotAfter: end, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	authorityKey, authorityDER := s.sign(authority, authority, nil)
	key, der := s.sign(&x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: begin, NotAfter: end,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority, authorityKey)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		s.authority: {Type: "CERTIFICATE", Bytes: authorityDER},
		s.cert:      {Type: "CERTIFICATE", Bytes: der},
		s.key:       {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// sign makes a key and its certificate, which signs itself if by is nil.
func (s *server) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		s.t.Fatal(err)
	}
	return key, der
}

// emit sends the next number to the room, padded to about size bytes.
func (s *server) emit(room string, size int) {
	s.t.Helper()
	s.sent++
	body := fmt.Sprintf(`{"event":"n","room":%q,"data":"%d.%s"}`, room, s.sent, strings.Repeat("x", size))
	req, _ := http.NewRequest(http.MethodPost, s.URL+"/emit", strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer secret")
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("emit: %s", resp.Status)
	}
}

// streams returns how many streams are written in which way.
func (s *server) streams() map[string]int {
	s.t.Helper()
	resp, err := http.Get("http://" + s.admin + "/stats")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var stats struct {
		By map[string]int `json:"by_transport"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&stats); err != nil {
		s.t.Fatal(err)
	}
	return stats.By
}

// wantStreams waits until there are n streams, and all are written in that way. A reader may have the first bytes
// before its stream is counted.
func (s *server) wantStreams(by string, n int) {
	s.t.Helper()
	rig.Wait(s.t, patience, fmt.Sprintf("%d streams by %s", n, by), func() bool {
		all, streams := 0, s.streams()
		for _, one := range streams {
			all += one
		}
		return all == n && streams[by] == n
	})
}

// portable returns how many streams were left to the portable writer for the reason.
func (s *server) portable(reason string) (n int) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	_, rest, found := strings.Cut(text.String(), fmt.Sprintf("headcount_streams_portable_total{reason=%q} ", reason))
	if _, err := fmt.Sscan(rest, &n); !found || err != nil {
		s.t.Fatalf("no number of %s: %v", reason, err)
	}
	return n
}

// wantGone waits until nobody is in the room. It must not take a heartbeat, of 10 s.
func (s *server) wantGone(room string) {
	s.t.Helper()
	rig.Wait(s.t, 3*time.Second, "a reader that has gone to leave the count", func() bool { return s.Count(room) == 0 })
}
