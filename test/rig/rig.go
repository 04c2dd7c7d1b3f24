// Package rig runs the real server for black-box tests: it builds the commands of the repository, starts the server on
// a port of its own, stops, kills and restarts it there, and asks it for its count. Everything is on 127.0.0.1.
package rig

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTime = 15 * time.Second // a server that is not ready by then has failed
	stopTime  = 15 * time.Second // more than the default -drain
)

// Server is one running server process. After Restart it is the next process at the same address.
type Server struct {
	URL  string // http://127.0.0.1:PORT, or https:// with -tls-cert
	Addr string // 127.0.0.1:PORT

	t    testing.TB
	bin  string
	args []string
	env  []string
	sign string   // the path that answers 200 when it has started
	log  *os.File // of all its processes. It is no pipe, so a line can be read as soon as the server has written it.
	proc *process // nil while stopped
}

// process is a started command and its exit.
type process struct {
	os   *os.Process
	done chan struct{} // closed when the process has ended
	err  error         // what Wait returned; read it after done
}

// Start builds the server, starts it with args on a free port and waits until /readyz answers 200. The server is
// killed when the test ends. If the test has failed, the server's log is shown.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, []string{Build(t, "server")}, args, "/readyz")
}

// StartUnready is Start for a server that cannot be ready. It waits until /healthz answers 200.
func StartUnready(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, []string{Build(t, "server")}, args, "/healthz")
}

// StartPlain is Start without the race detector, for checks of time and size.
func StartPlain(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, []string{build(t, "server", false)}, args, "/readyz")
}

// StartUnder is StartPlain through a command that becomes the server, such as strace -D.
func StartUnder(t testing.TB, command []string, args ...string) *Server {
	t.Helper()
	return start(t, append(slices.Clone(command), build(t, "server", false)), args, "/readyz")
}

func start(t testing.TB, command, args []string, sign string) *Server {
	t.Helper()
	addr := FreeAddr(t)
	s := &Server{
		t: t, bin: command[0], Addr: addr, URL: "http://" + addr,
		args: slices.Concat(command[1:], []string{"-addr", addr}, args),
		env:  Environ(),
		sign: sign,
		log:  logFile(t),
	}
	if slices.Contains(args, "-tls-cert") {
		s.URL = "https://" + addr
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("log of the server at %s:\n%s", s.Addr, s.Log())
		}
		s.log.Close()
	})
	s.launch()
	return s
}

// logFile returns the file of a server's log. Every process that has it appends to it.
func logFile(t testing.TB) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "log")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// launch starts the process and waits until it is ready.
func (s *Server) launch() {
	s.t.Helper()
	cmd := exec.Command(s.bin, s.args...)
	cmd.Env = s.env
	cmd.Stdout, cmd.Stderr = s.log, s.log // which a process that takes over has, too
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start server: %v", err)
	}
	p := &process{os: cmd.Process, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	s.proc = p

	Wait(s.t, startTime, "200 of "+s.URL+s.sign, func() bool {
		select {
		case <-p.done:
			s.t.Fatalf("server %v ended at its start: %v\n%s", s.args, p.err, s.Log())
		default:
		}
		resp, err := anyCertificate().Get(s.URL + s.sign)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// Stop ends the server with SIGTERM and waits for it. An exit status other than 0 fails the test. It returns how long
// the server took.
func (s *Server) Stop() time.Duration {
	s.t.Helper()
	p := s.proc
	if p == nil {
		return 0
	}
	begin := time.Now()
	p.os.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopTime):
		p.os.Signal(syscall.SIGQUIT) // it says what it waits for
		select {
		case <-p.done:
		case <-time.After(time.Second):
		}
		s.Kill()
		s.t.Fatalf("server still ran %v after SIGTERM\n%s", stopTime, s.Log())
	}
	s.proc = nil
	if p.err != nil {
		s.t.Errorf("server after SIGTERM: %v, want exit status 0\n%s", p.err, s.Log())
	}
	return time.Since(begin)
}

// Kill ends the server with SIGKILL and waits for it. It returns how long that took.
func (s *Server) Kill() time.Duration {
	begin := time.Now()
	if p := s.proc; p != nil {
		p.os.Kill()
		<-p.done
		s.proc = nil
	}
	return time.Since(begin)
}

// Restart stops the server, if it runs, and starts it again at the same address with the same arguments.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.launch()
}

// Pid is the process id of the running server, 0 while it is stopped.
func (s *Server) Pid() int {
	if s.proc == nil {
		return 0
	}
	return s.proc.os.Pid
}

// Log is what the server has printed so far, over all its starts.
func (s *Server) Log() string {
	text, err := io.ReadAll(io.NewSectionReader(s.log, 0, math.MaxInt64))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Count returns the number of GET /count for the room, or -1 if there is no answer.
func (s *Server) Count(room string) int {
	resp, err := anyCertificate().Get(s.URL + "/count?room=" + url.QueryEscape(room))
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	var answer struct{ Users *int }
	if json.NewDecoder(resp.Body).Decode(&answer) != nil || answer.Users == nil {
		return -1
	}
	return *answer.Users
}

// anyCertificate is http.DefaultClient that accepts every certificate, because the server is on this machine.
var anyCertificate = sync.OnceValue(func() *http.Client {
	way := http.DefaultTransport.(*http.Transport).Clone()
	way.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	return &http.Client{Transport: way}
})

// Wait calls ok until it holds. It fails the test, and says what it waited for, if the deadline (a duration from now)
// has passed. It looks less often the longer it waits, because looking takes the processor from what it waits for.
func Wait(t testing.TB, deadline time.Duration, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); {
		waited := time.Since(begin)
		if waited > deadline {
			t.Fatalf("waited %v in vain for: %s", deadline, what)
		}
		time.Sleep(min(max(waited/20, 5*time.Millisecond), 50*time.Millisecond))
	}
}

// Need returns the path of a tool. If the tool is not on the PATH, it fails the test and says what to install.
func Need(t testing.TB, tool, install string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Fatalf("%s is missing; install it: %s", tool, install)
	}
	return path
}

// Environ returns the environment without variables that would configure headcount. HEADCOUNT_WRITER stays, so that
// HEADCOUNT_WRITER=stream runs all tests with the portable writer.
func Environ() []string {
	env := []string{"HEADCOUNT_ADMIN=127.0.0.1:0"} // several servers on one machine: no fixed private port
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "HEADCOUNT_") || strings.HasPrefix(kv, "HEADCOUNT_WRITER=") {
			env = append(env, kv)
		}
	}
	return env
}

// Buffer is a bytes.Buffer that one goroutine writes while others read.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
