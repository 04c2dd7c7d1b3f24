package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// variable is the environment variable by which the next process finds its end of the socket pair.
const variable = "HEADCOUNT_PREDECESSOR"

// Limits are how long the next process may take. Streams are silent only during the second one.
type Limits struct {
	Hello time.Duration // from its start to its hello
	Ready time.Duration // to take over what it got
}

// message is what the next process sends.
type message struct {
	Hello   bool   `json:",omitempty"`
	Ready   bool   `json:",omitempty"`
	Refused string `json:",omitempty"`
}

// Successor is the next process as this one sees it.
type Successor struct {
	cmd    *exec.Cmd
	limits Limits
	conn   *net.UnixConn
	in     *json.Decoder
	done   chan struct{} // closed when it has ended
	mu     sync.Mutex    // held while a parcel is sent
}

// Start starts the next process and waits for its hello. If it returns an error, the process has ended.
func Start(cmd *exec.Cmd, limits Limits) (*Successor, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	cmd.Env = append(cmd.Environ(), variable+"="+strconv.Itoa(2+len(cmd.ExtraFiles)))
	err = cmd.Start()
	_ = theirs.Close() // the next process has its own
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", cmd.Path, err), ours.Close())
	}
	s := &Successor{cmd: cmd, limits: limits, conn: ours, in: json.NewDecoder(ours), done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // await reports how it ended
		close(s.done)
	}()
	if err := s.await("hello", limits.Hello, func(m message) bool { return m.Hello }); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	return s, nil
}

// Pid returns the process id.
func (s *Successor) Pid() int { return s.cmd.Process.Pid }

// Send sends p, whose descriptors stay open here, and waits until the next process has it. state makes its state in the
// meantime.
func (s *Successor) Send(p Parcel, state func() ([]byte, error)) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.limits.Ready)); err != nil {
		return fmt.Errorf("send parcel: %w", err)
	}
	if err := send(s.conn, p, state); err != nil {
		// The reason why the process stopped reading is more useful than the failed write.
		return errors.Join(s.await("ready", time.Second, func(message) bool { return false }), err)
	}
	return s.await("ready", s.limits.Ready, func(m message) bool { return m.Ready })
}

// Go lets the next process continue. Without an error, this process touches nothing any more, whatever happens.
// After an error, the next process has not got the message, and must be ended with [Successor.Kill].
func (s *Successor) Go() error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.limits.Ready)); err != nil {
		return fmt.Errorf("let the next process continue: %w", err)
	}
	if _, err := s.conn.Write([]byte{proceed}); err != nil {
		return fmt.Errorf("let the next process continue: %w", err)
	}
	return nil
}

// Forward sends one more parcel after [Successor.Go]. Its descriptors stay open here.
func (s *Successor) Forward(p Parcel) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.limits.Ready)); err != nil {
		return fmt.Errorf("forward parcel: %w", err)
	}
	return send(s.conn, p, nil)
}

// Close ends the connection. The next process then gets no more parcels.
func (s *Successor) Close() error { return s.conn.Close() }

// Kill ends the next process, and returns when it has ended. It touches nothing any more then.
func (s *Successor) Kill() error {
	_ = s.cmd.Process.Kill() // it may have ended on its own
	<-s.done
	return s.conn.Close()
}

// await waits until the next process sends what is expected.
func (s *Successor) await(what string, within time.Duration, expected func(message) bool) error {
	if err := s.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return fmt.Errorf("await %s: %w", what, err)
	}
	var m message
	err := s.in.Decode(&m)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the new process has not said %s within %v", what, within)
	case errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET):
		select { // the connection is closed because the process ends
		case <-s.done:
			return fmt.Errorf("the new process ended before it said %s: %v", what, s.cmd.ProcessState)
		case <-time.After(time.Second):
			return fmt.Errorf("the new process closed its connection before it said %s", what)
		}
	case err != nil:
		return fmt.Errorf("await %s: %w", what, err)
	case m.Refused != "":
		return fmt.Errorf("the new process refused: %s", m.Refused)
	case !expected(m):
		return fmt.Errorf("the new process said %+v instead of %s", m, what)
	}
	return nil
}

func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "successor")
	if ours, err = fileConn(fds[0]); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// fileConn makes a connection from a descriptor, which it owns.
func fileConn(fd int) (*net.UnixConn, error) {
	file := os.NewFile(uintptr(fd), "handover")
	defer file.Close() // FileConn has made its own
	c, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("use descriptor %d: %w", fd, err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("use descriptor %d: it is no Unix socket", fd), c.Close())
	}
	return conn, nil
}

// fileListener makes a listener from a descriptor, which it owns.
func fileListener(fd int) (net.Listener, error) {
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close() // FileListener has made its own
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("use descriptor %d: %w", fd, err)
	}
	return l, nil
}
