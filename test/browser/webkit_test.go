package browser

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"headcount/test/rig"
)

// A webKit is one running MiniBrowser of WebKitGTK, on a screen that nobody sees, driven by its own WebDriver.
type webKit struct {
	t       *testing.T
	url     string
	session string
}

// webKitPaths are the commands of WebDriver that are used here, by their names in Marionette.
var webKitPaths = map[string][2]string{
	"WebDriver:NewSession":     {http.MethodPost, "/session"},
	"WebDriver:NewWindow":      {http.MethodPost, "/window/new"},
	"WebDriver:SwitchToWindow": {http.MethodPost, "/window"},
	"WebDriver:CloseWindow":    {http.MethodDelete, "/window"},
	"WebDriver:Navigate":       {http.MethodPost, "/url"},
	"WebDriver:Refresh":        {http.MethodPost, "/refresh"},
	"WebDriver:ExecuteScript":  {http.MethodPost, "/execute/sync"},
}

func newWebKit(t *testing.T, b *box, host string) (*remote, string) {
	t.Helper()
	const install = "apt-get install webkit2gtk-driver xvfb xauth"
	driver := rig.Need(t, "WebKitWebDriver", install)
	screen := rig.Need(t, "xvfb-run", install)
	browsers, err := filepath.Glob("/usr/lib/*/webkit2gtk-4.*/MiniBrowser")
	if err != nil || len(browsers) == 0 {
		t.Fatalf("MiniBrowser is missing; install it: %s", install)
	}
	addr := rig.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	home := t.TempDir()
	cmd := exec.Command(screen, "--auto-servernum", driver, "--port="+port)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+home, "XDG_DATA_HOME="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end all of it
	var log rig.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("log of WebKit:\n%s", log.String())
		}
	})
	rig.Wait(t, 60*time.Second, "WebKitWebDriver", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	args, url := []string{"--automation"}, b.url(t, host)
	if host != "localhost" {
		// It cannot be told where a name leads. But a proxy knows, and the box is one.
		args, url = append(args, "--proxy="+b.URL), "http://"+host
	}
	k := &webKit{t: t, url: "http://" + addr}
	var session struct{ SessionID string }
	answer := k.do("WebDriver:NewSession", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName":              "MiniBrowser",
		"webkitgtk:browserOptions": map[string]any{"binary": browsers[0], "args": args},
	}}})
	if err := json.Unmarshal(answer, &session); err != nil {
		t.Fatal(err)
	}
	k.session = "/session/" + session.SessionID
	t.Cleanup(func() {
		end, err := http.NewRequest(http.MethodDelete, k.url+k.session, nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := http.DefaultClient.Do(end); err == nil {
			answer.Body.Close()
		}
	})
	return &remote{t: t, do: k.do}, url
}

func (k *webKit) do(command string, params any) json.RawMessage {
	k.t.Helper()
	body, err := json.Marshal(params)
	if err != nil {
		k.t.Fatal(err)
	}
	path := webKitPaths[command]
	r, err := http.NewRequest(path[0], k.url+k.session+path[1], bytes.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	client := http.Client{Timeout: 2 * slow}
	answer, err := client.Do(r)
	if err != nil {
		k.t.Fatalf("%s: %v", command, err)
	}
	defer answer.Body.Close()
	var whole json.RawMessage
	var result struct{ Value json.RawMessage }
	if err := json.NewDecoder(answer.Body).Decode(&whole); err != nil {
		k.t.Fatalf("%s: %v", command, err)
	}
	if err := json.Unmarshal(whole, &result); err != nil || answer.StatusCode != http.StatusOK {
		k.t.Fatalf("%s: %s %s", command, answer.Status, whole)
	}
	if command == "WebDriver:ExecuteScript" {
		return whole // as Marionette answers it
	}
	return result.Value
}
