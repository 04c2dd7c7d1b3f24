package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// healthy is what the doctor finds where nothing is wrong.
func healthy() map[string]verdict {
	return map[string]verdict{
		"reachable": isOK, "HTTP version": isOK, "WebSockets": isOK, "live": isOK, "only complete": isOK, "changed": isOK,
		"Last-Event-ID": isOK, "POST": isOK, "polling": isOK, "silence": isOK, "closed streams": isOK,
	}
}

type result struct {
	status   int
	findings map[string]finding
}

// examineBy runs the doctor as a script would, and returns what it found.
func examineBy(t *testing.T, url string, silence time.Duration) result {
	var stdout, stderr strings.Builder
	status := run(context.Background(), []string{"doctor", "-json", "-silence", silence.String(), url},
		streams{strings.NewReader(""), &stdout, &stderr})
	var report struct {
		Findings []finding
		Exit     int
	}
	if err := json.Unmarshal([]byte(stdout.String()), &report); err != nil || stderr.Len() > 0 || report.Exit != status {
		t.Errorf("got %q, exit status %d, standard error %q: %v", stdout.String(), status, stderr.String(), err)
	}
	findings := map[string]finding{}
	for _, f := range report.Findings {
		findings[f.Name] = f
	}
	return result{status, findings}
}

// What each box does is found, and nothing else.
func TestDoctorFindsBoxes(t *testing.T) {
	admin := freeAddrs(t, 1)[0]
	server := startServer(t, "-linger", "200ms", "-admin", admin)
	tests := []struct {
		name   string
		box    box
		status int
		found  map[string]verdict // what is not as on the direct way
		words  string             // of the first of them
		advice string
	}{
		{"nothing but no WebSockets", box{}, 0, map[string]verdict{"WebSockets": isBlocked}, "loses its headers", ""},
		{"WebSockets unanswered", box{answer: func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Upgrade") != "" {
				<-r.Context().Done()
			}
			return r.Header.Get("Upgrade") != ""
		}}, 0, map[string]verdict{"WebSockets": isBlocked}, "no answer in time", ""},
		{"holds until complete", box{pass: hold}, 3, map[string]verdict{
			"only complete": isHeld, "live": isHeld, "closed streams": isUnknown,
		}, "all came at the end", "proxy_buffering off"},
		{"holds and gives up", box{pass: giveUp(2500 * time.Millisecond)}, 3, map[string]verdict{
			"silence": isCut, "live": isHeld, "only complete": isHeld, "closed streams": isUnknown,
		}, "it answers 504", "up to 20 s"},
		{"one behind", box{pass: oneBehind}, 0, map[string]verdict{"live": isLate}, "only with the next one", "virus scanner"},
		{"late", box{pass: lateBy(250 * time.Millisecond)}, 0, map[string]verdict{"live": isLate}, "late by", "http-no-delay"},
		{"compresses", box{pass: zip(true)}, 0, map[string]verdict{"changed": isChanged}, "gzip", "gzip_types"},
		{"compresses and holds", box{pass: zip(false)}, 3, map[string]verdict{
			"only complete": isHeld, "live": isHeld, "changed": isChanged, "closed streams": isUnknown,
		}, "all came at the end", "gzip_types"},
		{"rewrites", box{pass: rewrite}, 0, map[string]verdict{"changed": isChanged}, "other bytes", "Exclude text/event-stream"},
		{"rewrites the type", box{response: func(h http.Header) {
			if h.Get("Content-Type") == "text/event-stream" {
				h.Set("Content-Type", "text/event-stream; charset=utf-8")
			}
		}}, 0, map[string]verdict{"changed": isChanged}, "charset", "as it is"},
		{"rewrites Cache-Control", box{response: func(h http.Header) { h.Set("Cache-Control", "no-cache") }},
			0, map[string]verdict{"changed": isChanged}, `"no-cache"`, "no-transform"},
		{"cuts silence", box{pass: cutSilent(2 * time.Second)}, 0, map[string]verdict{"silence": isCut}, ", and the server is silent for up to 10 s", "-heartbeat 1s"},
		{"cuts by age", box{pass: cutOld(2500 * time.Millisecond)}, 0, map[string]verdict{"silence": isCut}, "s, silent or not", "stay counted"},
		{"takes Last-Event-ID", box{header: func(h http.Header) { h.Del("Last-Event-ID") }},
			0, map[string]verdict{"Last-Event-ID": isBlocked}, "taken away", "lastEventId"},
		{"never tells that a reader has gone", box{deaf: true}, 0, map[string]verdict{"closed streams": isUnseen}, "still counted after 3.2 s", "-max-age"},
		{"without the probes", box{answer: refuse(404, "/doctor/")}, 0, map[string]verdict{
			"changed": isUnknown, "WebSockets": isUnknown, "Last-Event-ID": isUnknown, "silence": isUnknown,
		}, "probes are not there", ""},
		{"probes live, streams refused", box{answer: func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Get("poll") == "" && refuse(403, "/events")(w, r)
		}}, 3, map[string]verdict{
			"live": isFailed, "closed streams": isUnknown,
		}, "403", "not treated alike"},
		{"no events at all", box{answer: refuse(403, "/events")}, 1, map[string]verdict{
			"polling": isFailed, "live": isFailed, "closed streams": isUnknown,
		}, "403", "allow GET /events"},
		{"event streams refused", box{answer: refuse(403, "/events", "/doctor/stream")}, 1, map[string]verdict{
			"polling": isFailed, "live": isFailed, "closed streams": isUnknown, "only complete": isUnknown, "changed": isUnknown,
			"Last-Event-ID": isUnknown, "silence": isUnknown,
		}, "403", "of the type text/event-stream"},
		{"another type", box{response: func(h http.Header) {
			if h.Get("Content-Type") == "text/event-stream" {
				h.Set("Content-Type", "text/plain")
			}
		}}, 1, map[string]verdict{
			"polling": isFailed, "live": isFailed, "closed streams": isUnknown, "only complete": isUnknown, "changed": isChanged,
			"Last-Event-ID": isUnknown, "silence": isUnknown,
		}, "text/plain", "left as it is"},
		{"too many requests", box{answer: refuse(429, "/events")}, 1, map[string]verdict{
			"polling": isFailed, "live": isFailed, "closed streams": isUnknown,
		}, "429", "how often"},
		{"too many requests, now and then", box{answer: secondNewcomer(429)}, 0, map[string]verdict{"polling": isFailed}, "429", "how often"},
		{"no POST", box{answer: func(w http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodPost && refuse(403, "/")(w, r)
		}}, 3, map[string]verdict{"POST": isBlocked, "closed streams": isUnknown}, "403", "poll if they cannot"},
		{"two behind", box{pass: twoBehind}, 3, map[string]verdict{"live": isLate, "closed streams": isUnknown}, "others have come behind it", "virus scanner"},
		{"every two seconds", box{pass: every(2 * time.Second)}, 0, map[string]verdict{"live": isLate, "only complete": isHeld}, "only after", "waits"},
		{"a slow way", box{answer: func(_ http.ResponseWriter, r *http.Request) bool {
			switch r.URL.Path {
			case "/doctor/path":
				time.Sleep(patience + 200*time.Millisecond)
			case "/events":
				time.Sleep(patience + time.Second)
			}
			return false
		}}, 0, map[string]verdict{"live": isOK}, "", ""},
		{"another server", box{answer: refuse(200, "/")}, 1, map[string]verdict{"reachable": isFailed}, "is it a headcount server?", "curl"},
	}
	// They wait more than they work: more at once than t.Parallel would have.
	results := make([]result, len(tests))
	var all sync.WaitGroup
	places := make(chan struct{}, 8)
	for i, tt := range tests {
		url := tt.box.start(t, server)
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			results[i] = examineBy(t, url, 3*time.Second)
		})
	}
	all.Wait()
	wantNobody(t, admin) // whatever the boxes keep from the server
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := results[i].findings
			if status := results[i].status; status != tt.status {
				t.Errorf("got exit status %d, want %d", status, tt.status)
			}
			want := healthy()
			want["WebSockets"] = isBlocked // by all boxes
			maps.Copy(want, tt.found)
			if tt.found["reachable"] == isFailed {
				want = tt.found
			}
			for name, v := range want {
				if got[name].Verdict != v {
					t.Errorf("%s: got %s, %q; want %s", name, got[name].Verdict, got[name].Words, v)
				}
			}
			if len(got) != len(want) {
				t.Errorf("got %d findings, want %d", len(got), len(want))
			}
			said := false
			for name := range tt.found {
				said = said || strings.Contains(got[name].Words, tt.words) && strings.Contains(got[name].Advice, tt.advice)
			}
			if !said {
				t.Errorf("got %+v; want one with %q and the advice %q", got, tt.words, tt.advice)
			}
		})
	}

}

// Nothing is wrong with the direct way, and nobody is left behind on it.
func TestDoctorDirect(t *testing.T) {
	admin := freeAddrs(t, 1)[0]
	server := startServer(t, "-linger", "200ms", "-admin", admin)
	got := examineBy(t, server, time.Second)
	for name, want := range healthy() {
		if f := got.findings[name]; f.Verdict != want || f.Advice != "" {
			t.Errorf("%s: got %s, %q, advice %q; want %s and none", name, f.Verdict, f.Words, f.Advice, want)
		}
	}
	if got.status != statusOK {
		t.Errorf("got exit status %d, want 0", got.status)
	}
	wantNobody(t, admin)
}

// wantNobody waits until a server has neither users nor streams, for less than a lease lasts.
func wantNobody(t *testing.T, admin string) {
	t.Helper()
	var stats struct{ Users, Streams *int }
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get("http://" + admin + "/stats")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&stats)
		resp.Body.Close()
		if err != nil || stats.Users == nil || stats.Streams == nil {
			t.Fatalf("got no stats: %v", err)
		}
		if *stats.Users == 0 && *stats.Streams == 0 {
			return
		}
	}
	t.Errorf("%d users and %d streams are left, want none", *stats.Users, *stats.Streams)
}

// HTTP/2 to a proxy and HTTP/1.1 from there on is as good, also for WebSockets.
func TestDoctorOverHTTP2(t *testing.T) {
	front := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(mustParse(t, startServer(t, "-linger", "200ms"))))
	front.EnableHTTP2 = true
	front.StartTLS()
	defer front.Close()
	transport := front.Client().Transport.(*http.Transport)
	transport.DisableCompression = true
	d := &doctor{base: mustParse(t, front.URL), http: front.Client()}

	f := &facts{silence: time.Second, path: d.path(t.Context())}
	d.examine(t.Context(), f, func() {})
	want := healthy()
	for _, got := range append(append(diagnosePath(f), diagnoseStreams(f)...), diagnoseTime(f)...) {
		if got.Verdict != want[got.Name] {
			t.Errorf("%s: got %s, %q; want %s", got.Name, got.Verdict, got.Words, want[got.Name])
		}
		if words := "HTTP/2 here, HTTP/1.1 at the server, through a proxy that says so"; got.Name == "HTTP version" && got.Words != words {
			t.Errorf("got %q, want %q", got.Words, words)
		}
	}
}

// startServer starts the real server on a free port, and returns its URL.
func startServer(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(buildCommand(t, "server"), append([]string{"-addr", "127.0.0.1:0", "-admin", ""}, args...)...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "msg=listening addr="); ok {
			go io.Copy(io.Discard, log)
			addr, _, _ := strings.Cut(rest, " ")
			return "http://" + addr
		}
	}
	t.Fatal("the server ended at its start")
	return ""
}

// buildCommand builds one of the two commands and returns its path.
func buildCommand(t *testing.T, name string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", bin, "headcount/"+name).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return bin
}

// freeAddrs returns n different addresses at which nobody listens.
func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // not before the last one is open
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

func mustParse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
