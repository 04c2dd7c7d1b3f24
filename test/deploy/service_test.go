package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// systemd understands everything in the service file, and finds little that it could still forbid.
func TestService(t *testing.T) {
	analyze := rig.Need(t, "systemd-analyze", install+"systemd")
	unit := readUnit(t)
	installed := strings.Replace(unit, "ExecStart=/usr/local/bin/headcount\n", "ExecStart="+rig.Build(t, "server")+"\n", 1)
	if installed == unit {
		t.Fatal("the service does not start /usr/local/bin/headcount")
	}
	file := filepath.Join(t.TempDir(), "headcount.service")
	if err := os.WriteFile(file, []byte(installed), 0o644); err != nil {
		t.Fatal(err)
	}
	// What it does not understand is a warning and status 0.
	if out := run(t, analyze, "verify", "--man=no", file); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	run(t, analyze, "security", "--offline=true", "--no-pager", "--threshold=12", file) // 1.2 of 10

	status := exec.Command(rig.Build(t, "server"), "-h")
	status.Env = rig.Environ()
	help, err := status.Output()
	if err != nil {
		t.Fatal(err)
	}
	drain := regexp.MustCompile(`default (\S+), environment HEADCOUNT_DRAIN`).FindSubmatch(help)
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\S+)$`).FindStringSubmatch(unit)
	if drain == nil || stop == nil {
		t.Fatal("found no default of -drain, or no TimeoutStopSec")
	}
	give, err := time.ParseDuration(string(drain[1]))
	if err != nil {
		t.Fatal(err)
	}
	if kill, err := time.ParseDuration(stop[1] + "s"); err != nil || kill < give+2*time.Second {
		t.Errorf("TimeoutStopSec=%s, want some seconds more than -drain, %v", stop[1], give)
	}
}

// The server makes no system call that the service forbids, while it starts, serves, emits, hands over and stops.
func TestServiceSystemCalls(t *testing.T) {
	allowed := allowedCalls(t, readUnit(t))
	log := filepath.Join(t.TempDir(), "strace")
	s := rig.StartUnder(t, []string{rig.Need(t, "strace", install+"strace"), "-D", "-f", "-qq", "-o", log, "--"}, "-token", "secret", "-drain", "0")
	exercise(t, s)
	s.Upgrade()
	exercise(t, s)
	s.Stop()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	made := names(regexp.MustCompile(`(?m)^\d+ +(?:<\.\.\. )?([a-z_0-9]+)\(`), string(text))
	if !slices.Contains(made, "epoll_pwait") || !slices.Contains(made, "accept4") {
		t.Fatalf("strace shows only %v", made)
	}
	for _, call := range made {
		if !allowed[call] && call != "execve" { // systemd sets the filter before the exec, which @system-service has
			t.Errorf("the server calls %s, which SystemCallFilter= does not allow", call)
		}
	}
}

// allowedCalls reads the filters of a unit as systemd does: a list, less those behind ~.
func allowedCalls(t *testing.T, unit string) map[string]bool {
	t.Helper()
	analyze := rig.Need(t, "systemd-analyze", install+"systemd")
	allowed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(.+)$`).FindAllStringSubmatch(unit, -1) {
		sets := strings.Fields(m[2])
		if m[1] == "" {
			sets = append(sets, "@default") // always in a list of what is allowed
		}
		for len(sets) > 0 {
			set := sets[0]
			sets = sets[1:]
			if !strings.HasPrefix(set, "@") {
				allowed[set] = m[1] == ""
				continue
			}
			for line := range strings.Lines(run(t, analyze, "syscall-filter", "--no-pager", set)) {
				if word := strings.TrimSpace(line); word != set && word != "" && !strings.HasPrefix(word, "#") {
					sets = append(sets, word)
				}
			}
		}
	}
	return allowed
}

func readUnit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rig.Root(), "deploy/headcount.service"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
