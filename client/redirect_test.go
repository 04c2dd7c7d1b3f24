package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// If http redirects to https, all requests use https afterwards. These are streams, polls, goodbyes, emits and probes.
// http to a port that requires TLS gives an error of one sentence.
func TestRedirectToTLS(t *testing.T) {
	server := startServer(t, "-linger", "4s", "-token", "secret")
	proxy := httputil.NewSingleHostReverseProxy(mustParse(t, server))
	proxy.FlushInterval = -1
	secure := httptest.NewUnstartedServer(proxy)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(func() {
		secure.CloseClientConnections()
		secure.Close()
	})
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secure.URL+r.URL.RequestURI(), http.StatusMovedPermanently)
	}))
	t.Cleanup(plain.Close)
	trusted := filepath.Join(t.TempDir(), "trusted.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(trusted, block, 0o600); err != nil {
		t.Fatal(err)
	}
	client := buildCommand(t, "client")

	tests := []struct {
		name, args  string
		status      int
		out, stderr string
	}{
		{"watch", "watch -once " + plain.URL, 0, "user count 1\n", "connecting"},
		{"watch again, alone: the goodbye has arrived", "watch -once " + plain.URL, 0, "user count 1\n", "connecting"},
		{"emit", "emit -json -token secret " + plain.URL + " news hi", 0, `"room":"lobby"`, ""},
		{"doctor", "doctor -silence 1s " + plain.URL, 0, "HTTP/2 (ALPN h2) here, HTTP/1.1 at the", ""},
		{"watch without TLS", "watch http" + strings.TrimPrefix(secure.URL, "https"), 1, "", "the server speaks TLS only; use https:// instead of http://"},
		{"emit without TLS", "emit http" + strings.TrimPrefix(secure.URL, "https") + " news hi", 1, "", "the server speaks TLS only; use https:// instead of http://"},
		{"doctor without TLS", "doctor http" + strings.TrimPrefix(secure.URL, "https"), 1, "Use https://. Try: client doctor " + secure.URL, ""},
		{"doctor with TLS", "doctor https" + strings.TrimPrefix(server, "http"), 1, "Use http://. Try: client doctor " + server, ""},
		{"doctor of another name", "doctor " + strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), 1, "Use the host name that its certificate is for", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			cmd := exec.Command(client, strings.Fields(tt.args)...)
			cmd.Env = append(cmd.Environ(), "SSL_CERT_FILE="+trusted)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run() // the test checks its status
			if got := cmd.ProcessState.ExitCode(); got != tt.status || !strings.Contains(stdout.String(), tt.out) || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("got status %d, output %q, standard error %q; want %d, %q, %q", got, stdout.String(), stderr.String(), tt.status, tt.out, tt.stderr)
			}
		})
	}
}
