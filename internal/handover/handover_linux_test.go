package handover_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"headcount/internal/handover"
)

// role is the environment variable that makes the test binary the next process.
const role = "HANDOVER_TEST_ROLE"

func TestMain(m *testing.M) {
	if r := os.Getenv(role); r != "" {
		if err := successor(r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// successor takes over, or fails at some step, and writes to the streams what they and the state contain.
func successor(role string) error {
	hang := func() { _, _ = io.ReadFull(os.Stdin, make([]byte, 1)) } // nothing writes to stdin
	switch role {
	case "ends at once":
		return errors.New("bad flags")
	case "never says hello":
		hang()
	}
	from, err := handover.FindPredecessor()
	if err != nil || from == nil {
		return fmt.Errorf("find predecessor: got %v, %w", from, err)
	}
	switch role {
	case "refuses":
		from.Refuse(errors.New("I am too old"))
		return nil
	case "few descriptors":
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 60, Max: 60}); err != nil {
			return err
		}
	}
	parcel, err := from.Receive()
	if err != nil {
		from.Refuse(err)
		return err
	}
	defer parcel.Close()
	switch role {
	case "ends with the parcel":
		return errors.New("crash")
	case "never says ready":
		hang()
	}
	if err := from.Ready(); err != nil {
		return err
	}
	l, err := parcel.Listener("-addr")
	if err != nil || l == nil {
		return fmt.Errorf("listener: got %v, %w", l, err)
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	fmt.Fprintf(c, "%d streams", len(parcel.Streams))
	for i, fd := range parcel.Streams {
		if _, err := unix.Write(fd, fmt.Appendf(nil, "%d %s", i, parcel.State[:10])); err != nil {
			return err
		}
	}
	return c.Close()
}

// next starts the test binary as the next process.
func next(t *testing.T, as string) (*handover.Successor, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"="+as)
	stdin, err := cmd.StdinPipe() // a process that hangs ends with the test, whatever happens
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	return handover.Start(cmd, handover.Limits{Hello: 2 * time.Second, Ready: time.Second})
}

// pairs makes n streams. It returns the ends that are handed over, and the ends of the clients.
func pairs(t *testing.T, n int) (streams []int, readers []*os.File) {
	t.Helper()
	for range n {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		reader := os.NewFile(uintptr(fds[1]), "reader")
		streams, readers = append(streams, fds[0]), append(readers, reader)
		t.Cleanup(func() {
			unix.Close(fds[0])
			reader.Close()
		})
	}
	return streams, readers
}

func TestHandover(t *testing.T) {
	const n = 600 // more than two messages hold
	streams, readers := pairs(t, n)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s, err := next(t, "takes over")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	state := bytes.Repeat([]byte("state"), 1<<20) // more than fits into the socket
	parcel := handover.Parcel{Listeners: []handover.Listener{{Name: "-addr", FD: int(file.Fd())}}, Streams: streams}
	if err := s.Send(parcel, func() ([]byte, error) { return state, nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.Go(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); string(got) != fmt.Sprintf("%d streams", n) || err != nil {
		t.Errorf("its listener sent %q, %v, want %d streams", got, err, n)
	}
	for i, r := range readers {
		want := fmt.Sprintf("%d statestate", i)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); string(got) != want || err != nil {
			t.Fatalf("stream %d got %q, %v, want %q", i, got, err, want)
		}
	}
}

// If the next process fails in any way, this process gets the reason, and the next one has ended and touched nothing.
func TestFailures(t *testing.T) {
	streams, readers := pairs(t, 100)
	for _, row := range []struct {
		role  string
		hello bool   // the process gets that far
		why   string // part of the error
	}{
		{"ends at once", false, "ended before it said hello: exit status 3"},
		{"never says hello", false, "has not said hello within 2s"},
		{"refuses", false, "refused: I am too old"},
		{"few descriptors", true, "may not open as many files"},
		{"ends with the parcel", true, "ended before it said ready: exit status 3"},
		{"never says ready", true, "has not said ready within 1s"},
	} {
		t.Run(row.role, func(t *testing.T) {
			s, err := next(t, row.role)
			if row.hello {
				if err != nil {
					t.Fatal(err)
				}
				err = s.Send(handover.Parcel{Streams: streams, State: make([]byte, 1<<20)}, nil)
				if killed := s.Kill(); killed != nil {
					t.Errorf("kill: %v", killed)
				}
				if err := syscall.Kill(s.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
					t.Errorf("the next process is still there: %v", err)
				}
			}
			if err == nil || !strings.Contains(err.Error(), row.why) {
				t.Errorf("got %v, want %q", err, row.why)
			}
		})
	}
	for i, fd := range streams {
		if _, err := unix.Write(fd, []byte("still here")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("still here"))
		if _, err := io.ReadFull(readers[i], got); string(got) != "still here" || err != nil {
			t.Fatalf("stream %d got %q, %v, want what this process writes", i, got, err)
		}
	}
}

func TestNoSuchProgram(t *testing.T) {
	_, err := handover.Start(exec.Command("/nowhere/headcount"), handover.Limits{Hello: time.Second, Ready: time.Second})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that there is no such file", err)
	}
}

func TestNobodyHandsOver(t *testing.T) {
	if from, err := handover.FindPredecessor(); from != nil || err != nil {
		t.Errorf("got %v, %v, want nobody", from, err)
	}
	t.Setenv("HEADCOUNT_PREDECESSOR", "0") // standard input is not a Unix socket
	if from, err := handover.FindPredecessor(); from != nil || err == nil {
		t.Errorf("got %v, %v, want an error", from, err)
	}
}
