package main

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"

	"headcount/client/terminal/terminaltest"
)

// The chart follows the count and the size of the window, and ctrl-C releases the terminal.
func TestPlot(t *testing.T) {
	server := startServer(t)
	cmd := exec.Command(buildCommand(t, "client"), "-plot", server)
	cmd.Env = append(cmd.Environ(), "NO_COLOR=1", "TERM=xterm")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 16, Cols: 70})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	out := terminaltest.New(70, 16)
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := terminal.Read(buf)
			out.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer cmd.Process.Kill()
	see := func(what string, ok func(lines []string) bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(out.Lines()); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited in vain for %s; the last picture is\n%s", what, strings.Join(out.Lines(), "\n"))
			}
		}
	}
	title := func(want string) func([]string) bool {
		return func(lines []string) bool { return len(lines) > 0 && strings.HasPrefix(lines[0], want) }
	}

	see("the first count", title("user count 1 · peak 1 · room lobby at "+server))
	resp, err := http.Get(server + "/events")
	if err != nil {
		t.Fatal(err)
	}
	see("another user", func(lines []string) bool {
		return title("user count 2 · peak 2")(lines) && len(lines) == 16 && strings.Contains(strings.Join(lines, ""), "──")
	})
	resp.Body.Close()
	see("its end", func(lines []string) bool {
		return title("user count 1 · peak 2")(lines) && strings.Contains(strings.Join(lines, ""), "╮")
	})
	out.Resize(40, 9)
	if err := pty.Setsize(terminal, &pty.Winsize{Rows: 9, Cols: 40}); err != nil {
		t.Fatal(err)
	}
	see("a smaller picture", func(lines []string) bool {
		return strings.HasSuffix(lines[7], "now") && utf8.RuneCountInString(lines[7]) == 40 && strings.HasPrefix(lines[8], "ctrl-C ends")
	})

	if _, err := terminal.WriteString("\x03"); err != nil { // ctrl-C
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("got %v, want exit status 0", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("ctrl-C did not end it")
	}
	<-read
	text := out.Written()
	// Control codes for the second screen, the cursor, and automatic line breaks.
	const takeTerminal, giveTerminal = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
	if !strings.HasPrefix(text, takeTerminal) || !strings.HasSuffix(text, giveTerminal) || strings.Count(text, takeTerminal) != 1 {
		t.Errorf("got a beginning %q and an end %q; want the terminal taken once and given back", text[:30], text[len(text)-30:])
	}
}
