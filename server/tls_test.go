package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// blocked is a log that blocks until it is opened.
type blocked struct {
	slog.Handler
	lines chan string
}

func (b blocked) Handle(_ context.Context, r slog.Record) error {
	b.lines <- r.Message
	return nil
}

// writeCertificate writes a new certificate and its key with the given modification time.
func writeCertificate(t *testing.T, certFile, keyFile string, at time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(at.Unix()), NotAfter: at.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// A certificate is read again when its files change, and the old one stays if they are broken. A log that blocks delays
// only the handshake that logs.
func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	synctest.Test(t, func(t *testing.T) {
		log := blocked{slog.NewTextHandler(io.Discard, nil), make(chan string)}
		writeCertificate(t, certFile, keyFile, time.Now())
		c, err := newCertificate(certFile, keyFile, slog.New(log))
		if err != nil {
			t.Fatal(err)
		}
		first, _ := c.get(nil)

		time.Sleep(checkEvery)
		if err := os.WriteFile(certFile, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		go c.get(nil)
		synctest.Wait() // it is blocked in the log
		if now, _ := c.get(nil); now != first {
			t.Error("another certificate is used, want the one that was good")
		}
		if got := <-log.lines; got != "new certificate not used, the old one stays" {
			t.Errorf("logged %q", got)
		}

		time.Sleep(checkEvery)
		writeCertificate(t, certFile, keyFile, time.Now())
		go c.get(nil)
		synctest.Wait()
		if now, _ := c.get(nil); now == first {
			t.Error("the old certificate is used, want the new one")
		}
		if got := <-log.lines; got != "certificate reloaded" {
			t.Errorf("logged %q", got)
		}
	})
}
