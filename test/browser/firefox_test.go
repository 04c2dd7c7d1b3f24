package browser

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// firefox is a running Firefox with a profile of its own, controlled over its own Marionette protocol.
type firefox struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	n    int
}

func newFirefox(t *testing.T, b *box, host string) (*remote, string) {
	t.Helper()
	bin := rig.Need(t, "firefox-esr", "apt-get install firefox-esr")
	addr := rig.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	profile := t.TempDir()
	// On a busy machine Firefox ends the scripts of a closed tab before the page can say goodbye
	// (docs/decisions/0017-reloading.md). No page can do anything about it, so the tests do without.
	prefs := fmt.Sprintf(`
		user_pref("dom.abort_script_on_child_shutdown", false);
		user_pref("marionette.port", %s);
		user_pref("network.dns.localDomains", "real.test");
		user_pref("app.update.auto", false);
		user_pref("browser.shell.checkDefaultBrowser", false);
		user_pref("datareporting.policy.dataSubmissionEnabled", false);
		user_pref("network.captive-portal-service.enabled", false);
		user_pref("network.connectivity-service.enabled", false);
		user_pref("toolkit.telemetry.enabled", false);`, port)
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--headless", "--marionette", "--no-remote", "--profile", profile)
	cmd.Env = append(os.Environ(), "HOME="+profile)
	var log rig.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("log of Firefox:\n%s", log.String())
		}
	})
	f := &firefox{t: t}
	rig.Wait(t, 60*time.Second, "Firefox", func() bool {
		conn, err := net.Dial("tcp", addr)
		f.conn = conn
		return err == nil
	})
	t.Cleanup(func() { f.conn.Close() })
	f.in = bufio.NewReader(f.conn)
	f.read() // its greeting
	f.do("WebDriver:NewSession", map[string]any{})
	f.do("WebDriver:SetTimeouts", map[string]any{"script": slow.Milliseconds(), "pageLoad": slow.Milliseconds()})
	return &remote{t: t, do: f.do}, b.url(t, host)
}

// read reads one message, which is a length, a colon and JSON.
func (f *firefox) read() []byte {
	f.t.Helper()
	f.conn.SetReadDeadline(time.Now().Add(2 * slow))
	size, err := f.in.ReadString(':')
	if err != nil {
		f.t.Fatalf("read from Firefox: %v", err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
	if err != nil {
		f.t.Fatalf("read from Firefox: %v", err)
	}
	message := make([]byte, n)
	if _, err := io.ReadFull(f.in, message); err != nil {
		f.t.Fatalf("read from Firefox: %v", err)
	}
	return message
}

func (f *firefox) do(command string, params any) json.RawMessage {
	f.t.Helper()
	f.n++
	message, err := json.Marshal([]any{0, f.n, command, params})
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f.conn, "%d:%s", len(message), message); err != nil {
		f.t.Fatalf("write to Firefox: %v", err)
	}
	var answer [4]json.RawMessage
	if err := json.Unmarshal(f.read(), &answer); err != nil {
		f.t.Fatalf("%s: %v", command, err)
	}
	if string(answer[2]) != "null" {
		f.t.Fatalf("%s: %s", command, answer[2])
	}
	return answer[3]
}
