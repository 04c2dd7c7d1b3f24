package deploy

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats-server/v2/server"

	"headcount/test/rig"
)

// No container is started here, because that needs a container engine. But the library of docker compose reads
// compose.yaml, and its services run as it describes. Each has an address of this machine in place of its name. The
// servers get their variables, NATS its command, and nginx its configuration.
func TestCompose(t *testing.T) {
	project := readCompose(t)
	place := startCompose(t, project)
	proxy := "http://" + place["proxy:80"]

	// Each node has a reader of its own; what comes through the proxy reaches both, wherever it went.
	through := rig.Subscribe(t, proxy, "compose")
	through.AwaitCount(t, 10*time.Second, 1)
	all := []*rig.Subscriber{through}
	for _, node := range []string{"one:8080", "two:8080"} {
		all = append(all, rig.Subscribe(t, "http://"+place[node], "compose"))
	}
	for _, s := range all {
		s.AwaitCount(t, 10*time.Second, len(all))
	}
	for i := range 4 {
		req, err := http.NewRequest(http.MethodPost, proxy+"/emit", strings.NewReader(fmt.Sprintf(`{"room":"compose","event":"news","data":%d}`, i)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer secret")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("emit through the proxy: got %s, want 200", resp.Status)
		}
		for _, s := range all {
			s.Await(t, 5*time.Second, "news", fmt.Sprint(i))
		}
	}
}

func readCompose(t *testing.T) *types.Project {
	t.Helper()
	file := filepath.Join(rig.Root(), "deploy/compose.yaml")
	load := func(env ...string) (*types.Project, error) {
		options, err := cli.NewProjectOptions([]string{file}, cli.WithEnv(env))
		if err != nil {
			return nil, err
		}
		return options.LoadProject(t.Context())
	}
	if _, err := load(); err == nil || !strings.Contains(err.Error(), "choose a token") {
		t.Errorf("without a token: got %v, want that one is to be chosen", err)
	}
	project, err := load("HEADCOUNT_TOKEN=secret")
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// startCompose starts every service. It returns the addresses that they have here, by NAME:PORT.
func startCompose(t *testing.T, project *types.Project) map[string]string {
	t.Helper()
	place := map[string]string{}
	for _, at := range []string{"nats:4222", "one:8080", "two:8080", "proxy:80"} {
		place[at] = rig.FreeAddr(t)
	}
	here := func(text string) string {
		for at, addr := range place {
			text = strings.ReplaceAll(text, at, addr)
		}
		return text
	}
	want := []string{"nats", "one", "proxy", "two"}
	if names := slices.Sorted(maps.Keys(project.Services)); !slices.Equal(names, want) {
		t.Fatalf("the services are %v, and this test starts %v", names, want)
	}
	startComposedNATS(t, project.Services["nats"], place["nats:4222"])
	for _, name := range []string{"one", "two"} {
		s := project.Services[name]
		if _, err := os.Stat(filepath.Join(s.Build.Context, "Dockerfile")); err != nil {
			t.Errorf("service %s: %v", name, err)
		}
		cmd := exec.Command(rig.Build(t, "server"))
		cmd.Env = []string{"HEADCOUNT_ADDR=" + place[name+":8080"], "HEADCOUNT_ADMIN="}
		for variable, value := range s.Environment {
			cmd.Env = append(cmd.Env, variable+"="+here(*value))
		}
		log := background(t, cmd)
		rig.Wait(t, 30*time.Second, name+" to be ready", func() bool { return answers("http://" + place[name+":8080"] + "/readyz") })
		// A variable that is no option is warned of, not refused.
		if strings.Contains(log.String(), "HEADCOUNT_") {
			t.Errorf("%s complains of its variables:\n%s", name, log.String())
		}
	}
	startComposedProxy(t, project.Services["proxy"], place["proxy:80"], here)
	return place
}

// startComposedNATS starts the server of this test's module, which takes the same command.
func startComposedNATS(t *testing.T, s types.ServiceConfig, addr string) {
	t.Helper()
	flags := flag.NewFlagSet("nats-server", flag.ContinueOnError)
	options, err := server.ConfigureOptions(flags, s.Command, func() {}, func() {}, func() {})
	if err != nil {
		t.Fatalf("the command of nats: %v", err)
	}
	if len(s.Volumes) != 1 || s.Volumes[0].Target != options.StoreDir {
		t.Errorf("nats keeps its data in %q, and its volumes are %v", options.StoreDir, s.Volumes)
	}
	options.Host, options.StoreDir, options.NoSigs, options.NoLog = "127.0.0.1", t.TempDir(), true, true
	if _, err := fmt.Sscanf(addr, "127.0.0.1:%d", &options.Port); err != nil {
		t.Fatal(err)
	}
	nats, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	nats.Start()
	t.Cleanup(func() {
		nats.Shutdown()
		nats.WaitForShutdown()
	})
}

// startComposedProxy starts nginx with the file that is mounted, at the addresses of this machine.
func startComposedProxy(t *testing.T, s types.ServiceConfig, addr string, here func(string) string) {
	t.Helper()
	nginx := rig.Need(t, "nginx", install+"nginx")
	if len(s.Volumes) != 1 || s.Volumes[0].Target != "/etc/nginx/nginx.conf" || len(s.Ports) != 1 || s.Ports[0].Target != 80 {
		t.Fatalf("the proxy has the volumes %v and the ports %v, want one configuration and port 80", s.Volumes, s.Ports)
	}
	text, err := os.ReadFile(s.Volumes[0].Source)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	listening := strings.Replace(string(text), "listen 80;", "listen "+addr+";", 1)
	if err := os.WriteFile(config, []byte(here(listening)), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", config, "-g", "daemon off; pid " + filepath.Join(dir, "pid") + ";"}
	if out, err := exec.Command(nginx, append(args, "-t")...).CombinedOutput(); err != nil {
		t.Fatalf("nginx -t: %v\n%s", err, out)
	}
	background(t, exec.Command(nginx, args...))
	rig.Wait(t, 10*time.Second, "nginx", func() bool { return answers("http://" + addr + "/readyz") })
}

// background starts a command that ends with SIGTERM when the test ends.
func background(t *testing.T, cmd *exec.Cmd) *rig.Buffer {
	t.Helper()
	log := &rig.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(15*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", cmd.Path, log.String())
		}
	})
	return log
}

func answers(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
