package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nginxConf makes nginx a proxy on three ports. One has the defaults, one ignores X-Accel-Buffering, and one
// compresses.
const nginxConf = `
daemon off;
pid nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server { listen %[2]s; location / { proxy_pass %[1]s; } }
	server { listen %[3]s; location / { proxy_pass %[1]s; proxy_ignore_headers X-Accel-Buffering; } }
	server { listen %[4]s; location / { proxy_pass %[1]s; gzip on; gzip_proxied any; gzip_http_version 1.0; gzip_types text/event-stream; gzip_min_length 1; } }
}
`

// The doctor's findings behind a real nginx match the known effects of nginx.
func TestDoctorBehindNginx(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatal("nginx is missing; install it: apt-get install nginx-light")
	}
	server := startServer(t, "-linger", "200ms")
	addrs := freeAddrs(t, 3)
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConf, server, addrs[0], addrs[1], addrs[2])
	if os.Getuid() == 0 {
		text = "user root;" + text // the directory belongs to root
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(nginx, "-p", dir, "-c", conf, "-e", "stderr")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); cmd.Wait() }()
	defer func() { cmd.Process.Signal(os.Interrupt); <-ended }()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addrs[2]); err == nil {
			conn.Close()
			break
		}
		select {
		case <-ended:
			t.Fatalf("nginx ended at its start:\n%s", log.String())
		default:
		}
		if time.Now().After(end) {
			t.Fatal("nginx does not listen")
		}
	}

	tests := []struct {
		name   string
		status int
		found  map[string]string
	}{
		{"default", 0, map[string]string{"live": "OK", "arrives piece by piece": "OK", "unchanged": "OK", "silence": "OK", "closed streams": "OK"}},
		{"deaf to X-Accel-Buffering", 3, map[string]string{"live": "HELD", "arrives piece by piece": "HELD", "polling": "OK", "closed streams": "UNKNOWN"}},
		{"compresses", 0, map[string]string{"live": "OK", "unchanged": "CHANGED", "closed streams": "OK"}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := examineBy(t, "http://"+addrs[i], 2*time.Second)
			if got.status != tt.status {
				t.Errorf("got exit status %d, want %d", got.status, tt.status)
			}
			tt.found["WebSockets"] = "BLOCKED"
			tt.found["Last-Event-ID"] = "OK"
			for name, v := range tt.found {
				if f := got.findings[name]; f.Verdict != v {
					t.Errorf("%s: got %s, %q; want %s", name, f.Verdict, f.Words, v)
				}
			}
			if got, want := got.findings["HTTP version"].Words, "HTTP/1.1 here, HTTP/1.0 at the server"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
