package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// healthTime is how long the answer may take.
const healthTime = 2 * time.Second

// checkHealth asks the server that cfg is of whether it is healthy: for images that have
// no other program which could.
func checkHealth(ctx context.Context, cfg *config, stdout io.Writer) error {
	client := http.Client{
		Timeout: healthTime,
		Transport: &http.Transport{
			// It asks itself, and by an address that no certificate names.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
	}
	url := "http://"
	if cfg.tlsCert != "" {
		url = "https://"
	}
	url += localAddr(cfg.addr) + "/healthz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s answers %s", url, resp.Status)
	}
	_, err = fmt.Fprintln(stdout, "healthy")
	return err
}

// localAddr is where this machine reaches a listener.
func localAddr(addr string) string {
	host, port, _ := net.SplitHostPort(addr) // check has done so before
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.IsUnspecified() && ip.Is4():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
