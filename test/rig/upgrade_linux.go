package rig

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// StartProgram is Start for the program at a path, which the test may replace.
func StartProgram(t testing.TB, path string, args ...string) *Server {
	t.Helper()
	return start(t, []string{path}, args, "/readyz")
}

var handedOver = regexp.MustCompile(`msg="handed over" pid=(\d+) .*paused=(\S+)`)

// Upgrade sends SIGUSR2 and waits until the next process has taken over and the old one has ended. It returns the
// pause in writing. From then on s is the next process.
func (s *Server) Upgrade() (paused time.Duration) {
	s.t.Helper()
	const setChildSubreaper = 36 // so that the next process becomes a child of the test when the old one ends
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		s.t.Fatalf("become subreaper: %v", errno)
	}
	before, old := len(handedOver.FindAllString(s.Log(), -1)), s.proc
	s.Signal(syscall.SIGUSR2)
	var found [][]string
	Wait(s.t, startTime, "the next process at "+s.URL, func() bool {
		found = handedOver.FindAllStringSubmatch(s.Log(), -1)
		return len(found) > before
	})
	pid, _ := strconv.Atoi(found[before][1])
	paused, err := time.ParseDuration(found[before][2])
	if err != nil {
		s.t.Fatalf("read the log: %v", err)
	}
	next, err := os.FindProcess(pid)
	if err != nil {
		s.t.Fatalf("find the next process: %v", err)
	}
	select {
	case <-old.done:
	case <-time.After(stopTime):
		s.t.Fatalf("the old process still ran %v after the handover\n%s", stopTime, s.Log())
	}
	if old.err != nil {
		s.t.Errorf("the old process: %v, want exit status 0\n%s", old.err, s.Log())
	}
	p := &process{os: next, done: make(chan struct{})}
	go func() {
		state, err := next.Wait()
		if err == nil && !state.Success() {
			err = fmt.Errorf("%v", state)
		}
		p.err = err
		close(p.done)
	}()
	s.proc = p
	return paused
}

// Signal sends a signal to the server.
func (s *Server) Signal(sig os.Signal) {
	s.t.Helper()
	if err := s.proc.os.Signal(sig); err != nil {
		s.t.Fatalf("signal the server: %v", err)
	}
}
