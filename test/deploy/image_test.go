package deploy

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"headcount/test/rig"
)

// No image is built here, because that needs a container engine and a registry. But the commands of the Dockerfile are
// run. What it copies to an empty disk is run there by the user that it names, and needs nothing else.
func TestImage(t *testing.T) {
	d := readDockerfile(t)
	out := buildAs(t, d, "one")
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range d.copied {
		data, err := os.ReadFile(filepath.Join(out, filepath.Base(c.from)))
		if !strings.HasPrefix(c.from, "/out/") {
			data, err = []byte("of the image before"), nil
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(root, c.to)
		if strings.HasSuffix(c.to, "/") {
			to = filepath.Join(to, filepath.Base(c.from))
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	inside := func(command ...string) *exec.Cmd {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Path, cmd.Err, cmd.Dir = command[0], nil, "/" // a path inside
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Chroot: root, Credential: &syscall.Credential{Uid: d.user, Gid: d.group}, Pdeathsig: syscall.SIGKILL,
		}
		return cmd
	}

	addr := rig.FreeAddr(t)
	_, port, _ := strings.Cut(addr, ":")
	env := []string{"HEADCOUNT_ADDR=:" + port, "HEADCOUNT_ADMIN="}
	health := func() (string, error) {
		cmd := inside(d.health...)
		cmd.Env = env
		words, err := cmd.CombinedOutput()
		return string(words), err
	}
	if words, err := health(); err == nil {
		t.Errorf("the health check says %q where no server runs", words)
	}
	server := inside(d.entry...)
	server.Env = env
	var log rig.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatalf("start the server in an empty directory (this needs root): %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	t.Cleanup(func() {
		_ = server.Process.Kill()
		<-ended
	})
	rig.Wait(t, 10*time.Second, "a server that is healthy", func() bool {
		_, err := health()
		return err == nil
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.Process.Pid))
	if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nUid:\t%d\t", d.user)) || d.user == 0 {
		t.Errorf("the server does not run as user %d: %v\n%s", d.user, err, status)
	}
	// The page comes out of the binary.
	resp, err := http.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if page, _ := io.ReadAll(resp.Body); !strings.Contains(string(page), `id="users"`) {
		t.Errorf("got %s %s, want the page", resp.Status, page)
	}
	watch := inside("/client", "watch", "-once", "http://"+addr)
	if words, err := watch.Output(); err != nil || string(words) != "user count 1\n" {
		t.Errorf("the client in the image: got %q, %v", words, err)
	}
	if err := server.Process.Signal(d.stop); err != nil {
		t.Fatal(err)
	}
	select {
	case err = <-ended:
		ended <- nil
	case <-time.After(15 * time.Second):
		t.Fatal("the server still runs")
	}
	if err != nil {
		t.Errorf("after the stop signal: %v\n%s", err, log.String())
	}
}

// The same commit gives the same bytes, from the Dockerfile and from "task build:here", in any directory. The binaries
// report which commit it is.
func TestSameBytes(t *testing.T) {
	image := buildAs(t, readDockerfile(t), "one")
	repo := cloneTo(t, filepath.Join(t.TempDir(), "another directory", "with a longer name"))
	task := exec.Command("go", "run", "github.com/go-task/task/v3/cmd/task@v3.52.0", "--dir", repo, "build:here")
	task.Env = buildEnv()
	if out, err := task.CombinedOutput(); err != nil {
		t.Fatalf("task build:here: %v\n%s", err, out)
	}
	for _, name := range []string{"server", "client"} {
		if a, b := sum(t, filepath.Join(image, name)), sum(t, filepath.Join(repo, "bin", name)); a != b {
			t.Errorf("%s differs: sha256 %s of the Dockerfile, %s of the Taskfile", name, a, b)
		}
		head := strings.TrimSpace(run(t, "git", "-C", repo, "rev-parse", "HEAD"))
		if words := run(t, filepath.Join(repo, "bin", name), "-version"); !strings.Contains(words, "("+head[:12]+")") {
			t.Errorf("%s -version says %q, want commit %s", name, words, head)
		}
	}
}

// dockerfile is what these tests need of one.
type dockerfile struct {
	build       []string // the commands of the first stage
	copied      []copied // from there to the last one
	user, group uint32
	stop        syscall.Signal
	health      []string
	entry       []string
}

type copied struct{ from, to string }

func readDockerfile(t *testing.T) dockerfile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rig.Root(), "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	var d dockerfile
	stage := 0
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "", "#", "EXPOSE", "WORKDIR":
		case "FROM":
			if stage++; stage == 2 && rest != "scratch" {
				t.Errorf("the image is FROM %s; this test shows only that scratch suffices", rest)
			}
		case "RUN":
			if stage != 1 {
				t.Errorf("RUN %s: there is no shell in the image", rest)
			}
			d.build = append(d.build, rest)
		case "COPY":
			files, ok := strings.CutPrefix(rest, "--from=build ")
			if !ok {
				continue // the sources
			}
			words := strings.Fields(files)
			for _, from := range words[:len(words)-1] {
				d.copied = append(d.copied, copied{from, words[len(words)-1]})
			}
		case "USER":
			ids := regexp.MustCompile(`^([1-9]\d*):([1-9]\d*)$`).FindStringSubmatch(rest)
			if ids == nil {
				t.Fatalf("USER %s is not numbers above 0", rest)
			}
			uid, _ := strconv.ParseUint(ids[1], 10, 32)
			gid, _ := strconv.ParseUint(ids[2], 10, 32)
			d.user, d.group = uint32(uid), uint32(gid)
		case "STOPSIGNAL":
			if rest != "SIGTERM" {
				t.Fatalf("STOPSIGNAL %s, want SIGTERM", rest)
			}
			d.stop = syscall.SIGTERM
		case "HEALTHCHECK":
			_, command, _ := strings.Cut(rest, " CMD ")
			if err := json.Unmarshal([]byte(command), &d.health); err != nil {
				t.Fatalf("HEALTHCHECK %s: %v; without a shell it must be a list", rest, err)
			}
		case "ENTRYPOINT":
			if err := json.Unmarshal([]byte(rest), &d.entry); err != nil {
				t.Fatalf("ENTRYPOINT %s: %v; without a shell it must be a list", rest, err)
			}
		default:
			t.Errorf("this test does not know %s", word)
		}
	}
	if stage != 2 || len(d.build) == 0 || len(d.copied) == 0 || len(d.health) == 0 || len(d.entry) == 0 || d.user == 0 || d.stop == 0 {
		t.Fatalf("the Dockerfile lacks something: %+v", d)
	}
	return d
}

// buildAs runs the commands of the first stage on a copy of the sources, and returns the directory that is /out there.
func buildAs(t *testing.T, d dockerfile, name string) string {
	t.Helper()
	dir := t.TempDir()
	src, out := filepath.Join(dir, name), filepath.Join(dir, "out")
	cloneTo(t, src)
	for _, command := range d.build {
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(command, "/out/", out+"/"))
		cmd.Dir, cmd.Env = src, buildEnv()
		if words, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("RUN %s: %v\n%s", command, err, words)
		}
	}
	return out
}

// buildEnv is the environment of a builder that has set nothing.
func buildEnv() []string {
	env := []string{"GOFLAGS=-buildvcs=auto"} // the default; what "go env -w" has set counts less
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); name != "GOFLAGS" && !strings.HasPrefix(name, "CGO_") && name != "GOOS" && name != "GOARCH" {
			env = append(env, kv)
		}
	}
	return env
}

// cloneTo makes a repository of the files as they are now, always with the same commit, and returns its directory.
func cloneTo(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files := run(t, "git", "-C", rig.Root(), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for name := range strings.SplitSeq(strings.TrimSuffix(files, "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(rig.Root(), name))
		if os.IsNotExist(err) {
			continue // deleted, and not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "all of it"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=test", "GIT_AUTHOR_EMAIL=test", "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z",
			"GIT_COMMITTER_NAME=test", "GIT_COMMITTER_EMAIL=test", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	return dir
}

func sum(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}
