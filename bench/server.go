package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"headcount/bench/load"
)

// A server is a peer that runs.
type server struct {
	peer    peer
	port    int
	command *exec.Cmd
	ended   chan struct{}
	log     string
	http    *http.Client
	scheme  string
}

// startServer runs a peer's command line and waits until it accepts connections. Its end is up to stop, not to a
// context, which would kill nginx and leave its workers.
func startServer(p peer, line []string, dir string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args := make([]string, len(line))
	for i, word := range line {
		args[i] = strings.ReplaceAll(word, "PORT", strconv.Itoa(port))
	}
	s := &server{peer: p, port: port, command: exec.Command(args[0], args[1:]...), ended: make(chan struct{}),
		log: filepath.Join(dir, p.name+".log"), http: &http.Client{Timeout: publishLimit}, scheme: "http://"}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	defer log.Close()
	s.command.Env = append(os.Environ(), p.env...)
	if p.tls {
		for _, name := range []string{"", "HEADCOUNT_"} { // of the programs below peers/, and of headcount
			s.command.Env = append(s.command.Env, name+"TLS_CERT="+certFile(dir), name+"TLS_KEY="+keyFile(dir))
		}
		s.scheme = "https://"
		s.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	}
	s.command.Stdout, s.command.Stderr = log, log
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		_ = s.command.Wait()
		close(s.ended)
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("tcp4", s.address())
		if err == nil {
			return s, conn.Close()
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("start %s: it ended: %s", p.name, s.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.stop()
			return nil, fmt.Errorf("start %s: %w", p.name, err)
		}
	}
}

// publishLimit is how long a server may take to accept one event.
const publishLimit = 10 * time.Second

func freePort() (int, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find free port: %w", err)
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

func (s *server) lastWords() string {
	text, _ := os.ReadFile(s.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// stop asks the server to end, and makes it end after three seconds.
func (s *server) stop() {
	s.http.CloseIdleConnections()
	_ = s.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
		return
	case <-time.After(3 * time.Second):
	}
	for _, pid := range family(s.command.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.ended
}

func (s *server) cpuTime() (time.Duration, error) { return cpuTime(s.command.Process.Pid) }
func (s *server) memory() (int64, error)          { return memory(s.command.Process.Pid) }

// emit sends measured event number n, of about size bytes.
func (s *server) emit(ctx context.Context, n int64, size int) error {
	data := fmt.Appendf(nil, `{"t":%d,"n":%d,"pad":""}`, load.Now(), n)
	if padding := size - len(data); padding > 0 {
		data = append(data[:len(data)-2], strings.Repeat("x", padding)...)
		data = append(data, `"}`...)
	}
	if s.peer.publish.wrap != nil {
		data = s.peer.publish.wrap(data)
	}
	return s.post(ctx, s.peer.publish.path, data)
}

// startCounting makes a peer that counts only when asked begin.
func (s *server) startCounting(ctx context.Context) error {
	if s.peer.counts != asked {
		return nil
	}
	return s.post(ctx, "/count", nil)
}

var errStatus = errors.New("unexpected status")

func (s *server) post(ctx context.Context, path string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.scheme+s.address()+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post to %s: %w", path, err)
	}
	request.Header.Set("Content-Type", "application/json")
	if s.peer.publish.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.peer.publish.token)
	}
	response, err := s.http.Do(request)
	if err != nil {
		return fmt.Errorf("post to %s: %w", path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("post to %s: %w", path, err)
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("post to %s: %w %d: %s", path, errStatus, response.StatusCode, bytes.TrimSpace(text))
	}
	return nil
}
