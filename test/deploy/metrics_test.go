// Package deploy checks the files in ../../deploy against the running server: dashboard, alerts, service and image.
package deploy

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"headcount/test/rig"
)

const install = "apt-get install --no-install-recommends "

// A Prometheus that scrapes a server has an answer to each query of the dashboard and each series of the alerts.
func TestDashboardAndAlerts(t *testing.T) {
	admin := startServer(t)
	p := startPrometheus(t, admin)
	for _, panel := range readDashboard(t).Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("panel %q asks nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			p.wantAnswer(t, "panel "+strconv.Quote(panel.Title), target.expr(), labelsOf(target.LegendFormat))
		}
	}
	rules := p.rules(t)
	if len(rules) == 0 {
		t.Error("Prometheus has loaded no rules")
	}
	for _, rule := range rules {
		if rule.Health != "ok" || rule.LastError != "" {
			t.Errorf("alert %s: got health %q, %s", rule.Name, rule.Health, rule.LastError)
		}
		for _, selector := range selectors(rule.Query) {
			p.wantAnswer(t, "alert "+rule.Name, selector, nil)
		}
	}
}

// Each alert fires for its cause, and none fires for a healthy server.
func TestAlertsFire(t *testing.T) {
	run(t, rig.Need(t, "promtool", install+"prometheus"), "test", "rules", "testdata/alerts.yml")
	// The test above knows only the alerts that it names.
	rules, err := os.ReadFile(filepath.Join(rig.Root(), "deploy/alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	cases, err := os.ReadFile("testdata/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(cases), `alertname="`+m[1]+`"`) {
			t.Errorf("testdata/alerts.yml does not make %s fire", m[1])
		}
	}
}

// The metrics keep to the conventions of Prometheus, and docs/operations.md lists all of them and no other.
func TestMetricNames(t *testing.T) {
	resp, err := http.Get("http://" + startServer(t) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	lint := exec.Command(rig.Need(t, "promtool", install+"prometheus"), "check", "metrics")
	lint.Stdin = strings.NewReader(string(text))
	if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}

	served := names(regexp.MustCompile(`(?m)^# TYPE (headcount_\w+) `), string(text))
	docs, err := os.ReadFile(filepath.Join(rig.Root(), "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(docs), "\n## Metrics\n")
	table, _, _ = strings.Cut(table, "\n## ")
	listed := names(regexp.MustCompile("(?m)^\\| [^|]*?`(headcount_\\w+)|, `(headcount_\\w+)"), table)
	if !slices.Equal(served, listed) {
		t.Errorf("the server has\n%s\ndocs/operations.md lists\n%s", strings.Join(served, "\n"), strings.Join(listed, "\n"))
	}
}

// names returns what the pattern's groups find, each once.
func names(re *regexp.Regexp, text string) []string {
	var list []string
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		for _, name := range m[1:] {
			if name != "" {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// startServer runs a node of a cluster, a reader and an event a moment, so that every metric exists and moves, and
// returns its admin address.
func startServer(t *testing.T) (admin string) {
	t.Helper()
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	nats.Start()
	t.Cleanup(func() {
		nats.Shutdown()
		nats.WaitForShutdown()
	})
	admin = rig.FreeAddr(t)
	s := rig.Start(t, "-admin", admin, "-token", "secret", "-nats", nats.ClientURL(), "-drain", "0")
	t.Cleanup(func() { s.Stop() })
	exercise(t, s)
	return admin
}

// exercise opens a stream, and emits until the test ends. It returns when the first event has come.
func exercise(t *testing.T, s *rig.Server) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
	stream := rig.Subscribe(t, s.URL, "lobby")
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			req, _ := http.NewRequest(http.MethodPost, s.URL+"/emit", strings.NewReader(`{"event":"news"}`))
			req.Header.Set("Authorization", "Bearer secret")
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}
	}()
	rig.Wait(t, 20*time.Second, "the event", func() bool { return stream.Last("news").Name != "" })
}

// prometheus is one that scrapes each half second.
type prometheus struct{ url string }

func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	dir, addr := t.TempDir(), rig.FreeAddr(t)
	rules := filepath.Join(rig.Root(), "deploy/alerts.yml")
	config := fmt.Sprintf("global: {scrape_interval: 500ms, evaluation_interval: 500ms}\nrule_files: [%q]\n"+
		"scrape_configs: [{job_name: headcount, static_configs: [{targets: [%q]}]}]\n", rules, target)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(rig.Need(t, "prometheus", install+"prometheus"), "--config.file", file,
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", addr)
	var log rig.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and not more gently: nothing of it is kept
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log of prometheus:\n%s", log.String())
		}
	})
	return &prometheus{url: "http://" + addr}
}

// get asks the API and puts what it says into data.
func (p *prometheus) get(path string, query url.Values, data any) error {
	resp, err := http.Get(p.url + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", resp.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", resp.Status, answer.Error)
	}
	return nil
}

// sample is a series of an answer.
type sample struct {
	Metric map[string]string
	Value  [2]any // time, number
}

// wantAnswer waits until the query has an answer: series with these labels, and a number at least in one of them.
func (p *prometheus) wantAnswer(t *testing.T, who, query string, labels []string) {
	t.Helper()
	var problem string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var found struct{ Result []sample }
		if err := p.get("/api/v1/query", url.Values{"query": {query}}, &found); err != nil {
			problem = err.Error()
			continue
		}
		if problem = lacking(found.Result, labels); problem == "" {
			return
		}
	}
	t.Errorf("%s: %s: %s", who, query, problem)
}

// lacking says what an answer lacks.
func lacking(found []sample, labels []string) string {
	number := false
	for _, s := range found {
		for _, label := range labels {
			if s.Metric[label] == "" {
				return "no label " + label
			}
		}
		text, _ := s.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			number = true
		}
	}
	switch {
	case len(found) == 0:
		return "no data"
	case !number:
		return "no number"
	}
	return ""
}

// rule is an alert as Prometheus has read it.
type rule struct{ Name, Query, Health, LastError string }

// rules waits until all have been evaluated.
func (p *prometheus) rules(t *testing.T) []rule {
	t.Helper()
	var rules []rule
	rig.Wait(t, 20*time.Second, "the rules evaluated", func() bool {
		var all struct{ Groups []struct{ Rules []rule } }
		if p.get("/api/v1/rules", nil, &all) != nil {
			return false
		}
		rules = nil
		for _, g := range all.Groups {
			rules = append(rules, g.Rules...)
		}
		return !slices.ContainsFunc(rules, func(r rule) bool { return r.Health == "unknown" })
	})
	return rules
}

// selectors returns the series that an expression is about, one for each value that a label may have.
func selectors(query string) []string {
	var list []string
	for _, s := range regexp.MustCompile(`\b(?:up|(?:headcount|process|go)_\w+)\b(?:\{[^}]*\})?`).FindAllString(query, -1) {
		either := regexp.MustCompile(`(\w+)=~"([^"]*)"`).FindStringSubmatch(s)
		if either == nil {
			list = append(list, s)
			continue
		}
		for value := range strings.SplitSeq(either[2], "|") {
			list = append(list, strings.Replace(s, either[0], fmt.Sprintf("%s=%q", either[1], value), 1))
		}
	}
	return list
}

// dashboard is what a Grafana reads of its file.
type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Panels        []panel
}

type panel struct {
	ID      int
	Title   string
	GridPos struct{ H, W, X, Y int }
	Targets []target
}

type target struct{ Expr, LegendFormat string }

// expr is the query as Grafana sends it, for all jobs and nodes.
func (q target) expr() string {
	return strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "10s").Replace(q.Expr)
}

func labelsOf(legend string) []string {
	return names(regexp.MustCompile(`\{\{(\w+)\}\}`), legend)
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rig.Root(), "deploy/grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("read deploy/grafana.json: %v", err)
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion == 0 || len(d.Panels) == 0 {
		t.Fatalf("deploy/grafana.json is no dashboard: %+v", d)
	}
	return d
}

// Panels have a title and an id of their own, and no two of them overlap.
func TestDashboardLayout(t *testing.T) {
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range readDashboard(t).Panels {
		if p.Title == "" || ids[p.ID] {
			t.Errorf("panel %q has id %d, as another has", p.Title, p.ID)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("panel %q is outside of the 24 columns: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("panels %q and %q lie on each other", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// run runs a command that must succeed.
func run(t *testing.T, command string, args ...string) string {
	t.Helper()
	out, err := exec.Command(command, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
	return string(out)
}
