// Package script adds commands to package testscript, for the scripts that test client and server.
//
//	status N COMMAND...      runs a command that must end with exit status N
//	oneline                  the last command printed exactly one line on standard error
//	free NAME                sets $NAME to a free address 127.0.0.1:PORT
//	start NAME COMMAND...    starts a command; its output goes to the files NAME.out and NAME.err
//	await FILE REGEXP        waits until the file matches
//	signal NAME SIGNAL       sends INT, TERM, HUP, KILL, STOP or CONT to a started command
//	insist NAME SIGNAL       sends a signal repeatedly until the command has ended, like an impatient user
//	ended NAME N TIME        a started command ends with exit status N within TIME (-1: killed by a signal)
//
// Commands that a script leaves running are killed when it ends.
package script

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rogpeppe/go-internal/testscript"
)

// awaitTime is how long await waits. It is far longer than any script needs.
const awaitTime = 20 * time.Second

// Commands returns the commands for testscript.Params.Cmds. They are for scripts whose Setup is Setup.
func Commands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"status":  plain(2, status),
		"oneline": plain(0, oneLine),
		"free":    plain(1, free),
		"start":   plain(2, start),
		"await":   plain(2, await),
		"signal":  plain(2, signal),
		"insist":  plain(2, insist),
		"ended":   plain(3, ended),
	}
}

// key is the key of the started commands in the values of a script.
type key struct{}

// running holds the started commands of a script by name.
type running map[string]*process

type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when Wait has returned
}

// Setup prepares a script, whose commands start without any HEADCOUNT_ variable.
func Setup(env *testscript.Env) error {
	all := running{}
	env.Values[key{}] = all
	env.Defer(func() {
		for _, p := range all {
			_ = p.cmd.Process.Kill() // it may have ended
			<-p.ended
		}
	})
	return nil
}

// plain returns a command that calls f. It needs at least n arguments and does not support negation.
func plain(n int, f func(ts *testscript.TestScript, args []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("unsupported: !")
		}
		if len(args) < n {
			ts.Fatalf("got %d arguments, want at least %d", len(args), n)
		}
		ts.Check(f(ts, args))
	}
}

func status(ts *testscript.TestScript, args []string) error {
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		return err
	}
	if strconv.Itoa(got) != args[0] {
		return fmt.Errorf("exit status %d, want %s; standard error:\n%s", got, args[0], ts.ReadFile("stderr"))
	}
	return nil
}

func oneLine(ts *testscript.TestScript, _ []string) error {
	text := ts.ReadFile("stderr")
	if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") || len(text) < 2 {
		return fmt.Errorf("got %q on standard error, want one line", text)
	}
	return nil
}

// free uses ports below the range of outgoing connections. A client that reconnects could otherwise occupy the port of
// the server that it waits for.
func free(ts *testscript.TestScript, args []string) error {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", addr); err == nil {
			ts.Setenv(args[0], addr)
			return l.Close()
		}
	}
	return errors.New("found no free port between 20000 and 32000")
}

func start(ts *testscript.TestScript, args []string) error {
	name := args[0]
	all := ts.Value(key{}).(running)
	if p, ok := all[name]; ok && !p.isOver() {
		return fmt.Errorf("%s runs already", name)
	}
	path, err := look(ts, args[1])
	if err != nil {
		return err
	}
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "GOCOVERDIR=" + ts.Getenv("GOCOVERDIR")}
	for _, file := range []struct {
		suffix string
		to     func(*os.File)
	}{
		{".out", func(f *os.File) { cmd.Stdout = f }},
		{".err", func(f *os.File) { cmd.Stderr = f }},
	} {
		f, err := os.Create(ts.MkAbs(name + file.suffix))
		if err != nil {
			return err
		}
		defer f.Close() // the command has its own descriptor
		file.to(f)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // its outcome is in cmd.ProcessState
		close(p.ended)
	}()
	all[name] = p
	return nil
}

func (p *process) isOver() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// look finds a command on the script's PATH, which is not that of the test.
func look(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("found no command %s on the script's PATH", name)
}

func await(ts *testscript.TestScript, args []string) error {
	re, err := regexp.Compile("(?m)" + args[1])
	if err != nil {
		return fmt.Errorf("read pattern: %w", err)
	}
	var text []byte
	for end := time.Now().Add(awaitTime); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		text, err = os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && re.Match(text) {
			return nil
		}
	}
	return fmt.Errorf("waited %v in vain for %q in %s, which has:\n%s", awaitTime, args[1], args[0], text)
}

func signal(ts *testscript.TestScript, args []string) error {
	p, err := started(ts, args[0])
	if err != nil {
		return err
	}
	sig := unix.SignalNum("SIG" + args[1])
	if sig == 0 {
		return fmt.Errorf("unknown signal %q", args[1])
	}
	return p.cmd.Process.Signal(sig)
}

func insist(ts *testscript.TestScript, args []string) error {
	p, err := started(ts, args[0])
	if err != nil {
		return err
	}
	for end := time.Now().Add(awaitTime); time.Now().Before(end); {
		if err := signal(ts, args); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case <-p.ended:
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s still runs after %v of %s", args[0], awaitTime, args[1])
}

func ended(ts *testscript.TestScript, args []string) error {
	p, err := started(ts, args[0])
	if err != nil {
		return err
	}
	limit, err := time.ParseDuration(args[2])
	if err != nil {
		return fmt.Errorf("read time: %w", err)
	}
	select {
	case <-p.ended:
	case <-time.After(limit):
		return fmt.Errorf("%s still runs after %v", args[0], limit)
	}
	if got := strconv.Itoa(p.cmd.ProcessState.ExitCode()); got != args[1] {
		return fmt.Errorf("%s ended with %v, want exit status %s; standard error:\n%s",
			args[0], p.cmd.ProcessState, args[1], ts.ReadFile(args[0]+".err"))
	}
	return nil
}

func started(ts *testscript.TestScript, name string) (*process, error) {
	p, ok := ts.Value(key{}).(running)[name]
	if !ok {
		return nil, fmt.Errorf("%s was never started", name)
	}
	return p, nil
}
