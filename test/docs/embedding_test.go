package docs

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// The programs of docs/embedding.md compile in a module of somebody else, and count.
func TestEmbedding(t *testing.T) {
	dir := t.TempDir()
	addr := rig.FreeAddr(t)
	programs := goPrograms(t, dir, addr)
	module(t, dir)
	bin := filepath.Join(dir, "bin") + "/"
	run(t, dir, "go", "build", "-o", bin, "./...")

	for _, name := range programs {
		if name == "cluster" { // NATS is what the tests of package cluster start
			continue
		}
		t.Run(name, func(t *testing.T) {
			stop := serve(t, bin+name, addr)
			room := map[string]string{"echo": "shop"}[name]
			reader := &rig.Subscriber{URL: "http://" + addr + "/live", Room: room}
			reader.Start(t, rig.Every(100*time.Millisecond))
			reader.AwaitCount(t, 20*time.Second, 1)
			switch name {
			case "nethttp":
				want(t, addr, "/", http.StatusOK)
				want(t, addr, "/live/assets/io.js", http.StatusOK)
			case "echo":
				resp, err := http.PostForm("http://"+addr+"/orders", url.Values{"item": {"tea"}})
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				reader.Await(t, 5*time.Second, "order", `{"item":"tea"}`)
			case "authorize":
				want(t, addr, "/live/count?room=team-a", http.StatusUnauthorized)
			case "publish":
				rig.Wait(t, 10*time.Second, "the time", func() bool { return reader.Last("time").Name != "" })
			}
			stop()
		})
	}
}

// goPrograms writes the Go files of the page into dir and returns their directories. They serve at addr.
func goPrograms(t *testing.T, dir, addr string) (programs []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rig.Root(), "docs/embedding.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile("(?ms)^```go (\\S+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		name := filepath.Join(dir, found[1])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(strings.Replace(found[2], `":8080"`, fmt.Sprintf("%q", addr), 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		programs = append(programs, filepath.Dir(found[1]))
	}
	if len(programs) < 5 {
		t.Fatalf("docs/embedding.md has the programs %v, want five", programs)
	}
	return programs
}

// module makes dir a module of its own, which requires what this one does.
func module(t *testing.T, dir string) {
	t.Helper()
	own := strings.TrimSpace(run(t, rig.Root(), "go", "list", "-m"))
	mod, err := os.ReadFile(filepath.Join(rig.Root(), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	mod = []byte(strings.Replace(string(mod), "module "+own+"\n", "module example.com/shop\n", 1))
	sum, err := os.ReadFile(filepath.Join(rig.Root(), "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"go.mod": mod, "go.sum": sum} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, "go", "mod", "edit", "-require", own+"@v0.0.0", "-replace", own+"="+rig.Root())
}

// serve starts a program and waits until it counts. The function it returns interrupts it and waits.
func serve(t *testing.T, bin, addr string) (stop func()) {
	t.Helper()
	cmd := exec.Command(bin)
	var log rig.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-done
			t.Errorf("%s did not end within 20 s of the interrupt", bin)
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", bin, log.String())
		}
	})
	rig.Wait(t, 20*time.Second, bin+" to serve", func() bool {
		resp, err := http.Get("http://" + addr + "/live/count")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return stop
}

func want(t *testing.T, addr, path string, status int) {
	t.Helper()
	resp, err := http.Get("http://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != status {
		t.Errorf("GET %s: got %s, want %d", path, resp.Status, status)
	}
}
