package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"
)

// certificate is a certificate and its key on disk. It is read again when the files change, so a renewal needs no
// restart.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time // of the files from which current was read
	checked time.Time
}

// checkEvery is the shortest time between two checks of the files.
const checkEvery = time.Second

func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, checked: time.Now()}
	if _, err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// get implements tls.Config.GetCertificate. If the new files cannot be read, the old certificate stays. One handshake
// reads the files and writes the log, so slow files delay no other handshake.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	due := time.Since(c.checked) >= checkEvery
	if due {
		c.checked = time.Now()
	}
	c.mu.Unlock()
	if due {
		switch news, err := c.read(); {
		case err != nil:
			// Perhaps only one file was renewed yet. The next check finds both.
			c.log.Warn("new certificate not used, the old one stays", "error", err)
		case news:
			c.log.Info("certificate reloaded", "file", c.certFile)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current, nil
}

// read reads the files if they have changed, and reports whether they have.
func (c *certificate) read() (news bool, err error) {
	stamp, err := c.times()
	if err != nil {
		return false, fmt.Errorf("read certificate: %w", err)
	}
	c.mu.Lock()
	known := c.current != nil && stamp == c.stamp
	c.mu.Unlock()
	if known {
		return false, nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return false, fmt.Errorf("read certificate: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.stamp = &pair, stamp
	return true, nil
}

func (c *certificate) times() (stamp [2]time.Time, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp, err
		}
		stamp[i] = info.ModTime()
	}
	return stamp, nil
}

// protocols returns the HTTP protocols of -addr.
func (cfg *config) protocols() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(cfg.http2)
	p.SetUnencryptedHTTP2(cfg.h2c)
	return &p
}

// nextProtos returns the protocols that TLS offers.
func (cfg *config) nextProtos() []string {
	if cfg.http2 {
		return []string{"h2", "http/1.1"}
	}
	return []string{"http/1.1"}
}
