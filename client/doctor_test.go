package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headcount/client/doctor"
	"headcount/client/remote"
)

// healthy returns the findings for a connection without problems.
func healthy() map[string]string {
	return map[string]string{
		"reachable": "OK", "HTTP version": "OK", "WebSockets": "OK", "live": "OK", "arrives piece by piece": "OK", "unchanged": "OK",
		"Last-Event-ID": "OK", "POST": "OK", "polling": "OK", "silence": "OK", "closed streams": "OK",
	}
}

// finding is one line of the report.
type finding struct{ Name, Verdict, Words, Advice string }

type result struct {
	status   int
	findings map[string]finding
}

// examineBy runs the doctor as a script would, and returns its findings.
func examineBy(t *testing.T, url string, silence time.Duration) result {
	var stdout, stderr strings.Builder
	status := run(context.Background(), []string{"doctor", "-json", "-silence", silence.String(), url},
		streams{strings.NewReader(""), &stdout, &stderr})
	var report struct {
		Findings []finding
		Exit     int
	}
	if err := json.Unmarshal([]byte(stdout.String()), &report); err != nil || stderr.Len() > 0 || report.Exit != status {
		t.Errorf("got %q, exit status %d, standard error %q: %v", stdout.String(), status, stderr.String(), err)
	}
	findings := map[string]finding{}
	for _, f := range report.Findings {
		findings[f.Name] = f
	}
	return result{status, findings}
}

// A direct connection has no problems, and no user stays on the server.
func TestDoctorDirect(t *testing.T) {
	admin := freeAddrs(t, 1)[0]
	server := startServer(t, "-linger", "200ms", "-admin", admin)
	got := examineBy(t, server, time.Second)
	for name, want := range healthy() {
		if f := got.findings[name]; f.Verdict != want || f.Advice != "" {
			t.Errorf("%s: got %s, %q, advice %q; want %s and none", name, f.Verdict, f.Words, f.Advice, want)
		}
	}
	if got.status != statusOK {
		t.Errorf("got exit status %d, want 0", got.status)
	}
	wantNobody(t, admin)
}

// wantNobody waits until a server has neither users nor streams. It waits for less time than a lease lasts.
func wantNobody(t *testing.T, admin string) {
	t.Helper()
	var stats struct{ Users, Streams *int }
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get("http://" + admin + "/stats")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&stats)
		resp.Body.Close()
		if err != nil || stats.Users == nil || stats.Streams == nil {
			t.Fatalf("got no stats: %v", err)
		}
		if *stats.Users == 0 && *stats.Streams == 0 {
			return
		}
	}
	t.Errorf("%d users and %d streams are left, want none", *stats.Users, *stats.Streams)
}

// HTTP/2 to a proxy and HTTP/1.1 behind it cause no problems, also for WebSockets.
func TestDoctorOverHTTP2(t *testing.T) {
	front := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(mustParse(t, startServer(t, "-linger", "200ms"))))
	front.EnableHTTP2 = true
	front.StartTLS()
	defer front.Close()
	server := remote.New(mustParse(t, front.URL), "")
	server.HTTP.Transport.(*http.Transport).TLSClientConfig = front.Client().Transport.(*http.Transport).TLSClientConfig
	var out strings.Builder
	_, err := doctor.Run(t.Context(), doctor.Options{
		Server: server, Silence: time.Second, JSON: true, Out: &out, Exit: func(o doctor.Outcome) int { return int(o) },
	})
	var report struct{ Findings []finding }
	if err != nil || json.Unmarshal([]byte(out.String()), &report) != nil {
		t.Fatalf("got %q, %v", out.String(), err)
	}
	want := healthy()
	for _, got := range report.Findings {
		if got.Verdict != want[got.Name] {
			t.Errorf("%s: got %s, %q; want %s", got.Name, got.Verdict, got.Words, want[got.Name])
		}
		if words := "HTTP/2 (ALPN h2) here, HTTP/1.1 at the server, through a proxy that says so"; got.Name == "HTTP version" && got.Words != words {
			t.Errorf("got %q, want %q", got.Words, words)
		}
	}
}

// startServer starts the real server on a free port, and returns its URL.
func startServer(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(buildCommand(t, "server"), append([]string{"-addr", "127.0.0.1:0", "-admin", ""}, args...)...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "msg=listening addr="); ok {
			go io.Copy(io.Discard, log)
			addr, _, _ := strings.Cut(rest, " ")
			return "http://" + addr
		}
	}
	t.Fatal("the server ended at its start")
	return ""
}

// buildCommand builds one of the two commands and returns its path.
func buildCommand(t *testing.T, name string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", bin, "headcount/"+name).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return bin
}

// freeAddrs returns n different free addresses.
func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // only after the last one is open
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

func mustParse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
