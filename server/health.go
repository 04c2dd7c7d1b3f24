package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// healthTime is how long the response may take.
const healthTime = 2 * time.Second

// checkHealth asks the server that cfg describes whether it is healthy. Container images use it because they contain no
// other HTTP client.
func checkHealth(ctx context.Context, cfg *config, stdout io.Writer) error {
	network, host := localAddr(cfg.addr)
	client := http.Client{
		Timeout: healthTime,
		Transport: &http.Transport{
			// The server asks itself, at an address that no certificate names.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, host)
			},
		},
	}
	url := "http://"
	if cfg.tlsCert != "" {
		url = "https://"
	}
	if network == "unix" {
		url += "localhost"
	} else {
		url += host
	}
	url += cfg.path + "/healthz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	resp, err := client.Do(req)
	var system syscall.Errno
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("not healthy: %s does not answer within %v", url, healthTime)
	case errors.As(err, &system):
		return fmt.Errorf("not healthy: %s: %w; start the server, or give -health the same options", url, system)
	case err != nil:
		return fmt.Errorf("not healthy: %s: %w", url, errors.Unwrap(err)) // without method and URL
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s answers %s", url, resp.Status)
	}
	_, err = fmt.Fprintln(stdout, "healthy")
	return err
}
