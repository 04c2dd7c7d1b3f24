package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"headcount/internal/tlsconn/tlstest"
)

// running is this program as a process of its own.
type running struct {
	t   *testing.T
	url string
	log *bufio.Scanner
	pid int
}

// startServer starts the program at a free port.
func startServer(t *testing.T, args ...string) *running {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "server") // by this name the test binary is the server, see TestMain
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append(args, "-addr", "127.0.0.1:0", "-admin", "", "-token", "secret")...)
	out, in, err := os.Pipe() // the next process writes to it too
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	s := &running{t: t, log: bufio.NewScanner(out), pid: cmd.Process.Pid}
	t.Cleanup(func() {
		_ = syscall.Kill(s.pid, syscall.SIGKILL)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for t.Failed() && s.log.Scan() {
			t.Log(s.log.Text())
		}
		_ = out.Close()
	})
	s.url = strings.TrimSuffix(s.says("msg=listening", " url="), "/")
	return s
}

// says waits for a line of the log that contains mark, and returns its value after key.
func (s *running) says(mark, key string) string {
	s.t.Helper()
	for s.log.Scan() {
		if line := s.log.Text(); strings.Contains(line, mark) {
			_, rest, _ := strings.Cut(line, key)
			value, _, _ := strings.Cut(rest, " ")
			return value
		}
	}
	s.t.Fatalf("the log ended before %q", mark)
	return ""
}

// upgrade sends SIGUSR2 and waits until the next process has taken over.
func (s *running) upgrade() {
	s.t.Helper()
	if err := syscall.Kill(s.pid, syscall.SIGUSR2); err != nil {
		s.t.Fatal(err)
	}
	if _, err := fmt.Sscan(s.says("handed over", " pid="), &s.pid); err != nil {
		s.t.Fatal(err)
	}
}

// Requests whose header the old process has read, and whose body arrives after the upgrade, are answered by the next
// one.
func TestUpgradeWithinRequests(t *testing.T) {
	for _, link := range tlstest.Links() {
		t.Run(link.Name, func(t *testing.T) {
			s := startServer(t, link.Options(t)...)
			requestsOver(t, s, func() *http.Client {
				return &http.Client{Transport: &http.Transport{Protocols: link.Protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
			})
		})
	}
}

func requestsOver(t *testing.T, s *running, client func() *http.Client) {
	type answer struct {
		path, body string
		status     int
		err        error
	}
	bodies := map[string]string{
		"/emit":  `{"event":"n","data":1,"room":"x"}`,
		"/alive": `{"room":"x","ids":["abcdefgh"]}`,
		"/leave": `{"room":"x","ids":["hgfedcba"]}`,
	}
	answers, ends := make(chan answer), []func(){}
	for path, body := range bodies {
		in, out := io.Pipe()
		req, err := http.NewRequest(http.MethodPost, s.url+path, in)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = int64(len(body))
		if path == "/alive" {
			req.ContentLength = -1 // in chunks
		}
		req.Header.Set("Authorization", "Bearer secret")
		go func() {
			resp, err := client().Do(req)
			if err != nil {
				answers <- answer{path: path, err: err}
				return
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			answers <- answer{path, string(text), resp.StatusCode, err}
		}()
		if _, err := io.WriteString(out, body[:9]); err != nil { // when this returns, the request is on its way
			t.Fatal(err)
		}
		ends = append(ends, func() {
			_, _ = io.WriteString(out, body[9:])
			_ = out.Close()
		})
	}
	kept := client()
	get := func(path, want string) {
		t.Helper()
		resp, err := kept.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(got), want) {
			t.Errorf("%s: got %s %.200s, want 200 and %s", path, resp.Status, got, want)
		}
	}
	get("/count?room=x", `"users":0`)
	s.upgrade()
	for _, end := range ends {
		end()
	}
	for range ends {
		if a := <-answers; a.err != nil || a.status/100 != 2 {
			t.Errorf("%s: got %d %s, %v, want success", a.path, a.status, a.body, a.err)
		}
	}
	get("/count?room=x", `"users":1`)
	get("/readyz", "ok")
	get("/events?poll=1&room=x&lastEventId=", "user count")
}

// A request of which one half of the header came before the upgrade is answered by the next process.
func TestUpgradeWithinHeader(t *testing.T) {
	s := startServer(t)
	host := strings.TrimPrefix(s.url, "http://")
	for _, row := range []struct{ path, want, before string }{
		{path: "/count?room=x", want: `{"room":"x","users":1}`},
		{path: "/count?room=x", want: `{"room":"x","users":1}`, before: "/count?room=y"}, // not the first request
		{path: "/", want: "<!doctype html>"},
		{path: "/events?room=x", want: "event: user count"},
		{path: "/events?room=x", want: "event: user count", before: "/count?room=y"},
	} {
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if row.before != "" {
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", row.before, host)
			await(t, c, `"users":0`)
		}
		stream, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(stream, "GET /events?room=x HTTP/1.1\r\nHost: %s\r\n\r\n", host)
		await(t, stream, "event: user count")
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n", row.path, host)
		s.upgrade()
		fmt.Fprint(c, "\r\n")
		await(t, c, row.want)
		_ = stream.Close()
	}
}

// await reads a connection until it has sent text.
func await(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var got strings.Builder
	for buffer := make([]byte, 4096); !strings.Contains(strings.ToLower(got.String()), strings.ToLower(text)); {
		n, err := c.Read(buffer)
		if err != nil {
			t.Fatalf("got %q, %v, want %s", got.String(), err, text)
		}
		got.Write(buffer[:n])
	}
}
