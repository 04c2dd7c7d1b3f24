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

	"headcount/client/doctor"
	"headcount/client/remote"
)

// healthy is what the doctor finds where nothing is wrong.
func healthy() map[string]string {
	return map[string]string{
		"reachable": "OK", "HTTP version": "OK", "WebSockets": "OK", "live": "OK", "arrives piece by piece": "OK", "unchanged": "OK",
		"Last-Event-ID": "OK", "POST": "OK", "polling": "OK", "silence": "OK", "closed streams": "OK",
	}
}

// finding is a line of the report.
type finding struct{ Name, Verdict, Words, Advice string }

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
		found  map[string]string // what differs from a direct connection
		words  string            // of the first of them
		advice string
	}{
		{"nothing but no WebSockets", box{}, 0, map[string]string{"WebSockets": "BLOCKED"}, "loses its headers", ""},
		{"WebSockets unanswered", box{answer: func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Upgrade") != "" {
				<-r.Context().Done()
			}
			return r.Header.Get("Upgrade") != ""
		}}, 0, map[string]string{"WebSockets": "BLOCKED"}, "no answer in time", ""},
		{"holds until complete", box{pass: hold}, 3, map[string]string{
			"arrives piece by piece": "HELD", "live": "HELD", "closed streams": "UNKNOWN",
		}, "everything arrived at the end", "proxy_buffering off"},
		{"holds and gives up", box{pass: giveUp(2500 * time.Millisecond)}, 3, map[string]string{
			"silence": "CUT", "live": "HELD", "arrives piece by piece": "HELD", "closed streams": "UNKNOWN",
		}, "it answers 504", "up to 20 s"},
		{"one behind", box{pass: oneBehind}, 0, map[string]string{"live": "LATE"}, "only with the next one", "virus scanner"},
		{"late", box{pass: lateBy(250 * time.Millisecond)}, 0, map[string]string{"live": "LATE"}, "late by", "http-no-delay"},
		{"compresses", box{pass: zip(true)}, 0, map[string]string{"unchanged": "CHANGED"}, "gzip", "gzip_types"},
		{"compresses and holds", box{pass: zip(false)}, 3, map[string]string{
			"arrives piece by piece": "HELD", "live": "HELD", "unchanged": "CHANGED", "closed streams": "UNKNOWN",
		}, "everything arrived at the end", "gzip_types"},
		{"rewrites", box{pass: rewrite}, 0, map[string]string{"unchanged": "CHANGED"}, "not those that were sent", "Exclude text/event-stream"},
		{"rewrites the type", box{response: func(h http.Header) {
			if h.Get("Content-Type") == "text/event-stream" {
				h.Set("Content-Type", "text/event-stream; charset=utf-8")
			}
		}}, 0, map[string]string{"unchanged": "CHANGED"}, "charset", "as it is"},
		{"rewrites Cache-Control", box{response: func(h http.Header) { h.Set("Cache-Control", "no-cache") }},
			0, map[string]string{"unchanged": "CHANGED"}, `"no-cache"`, "no-transform"},
		{"cuts silence", box{pass: cutSilent(2 * time.Second)}, 0, map[string]string{"silence": "CUT"}, "and the server is silent for up to 10 s", "-heartbeat 1s"},
		{"cuts by age", box{pass: cutOld(2500 * time.Millisecond)}, 0, map[string]string{"silence": "CUT"}, "s, silent or not", "stay counted"},
		{"takes Last-Event-ID", box{header: func(h http.Header) { h.Del("Last-Event-ID") }},
			0, map[string]string{"Last-Event-ID": "BLOCKED"}, "removes it", "lastEventId"},
		{"never tells that a reader has gone", box{deaf: true}, 0, map[string]string{"closed streams": "UNSEEN"}, "still counted after 3.2 s", "-max-age"},
		{"without the probes", box{answer: refuse(404, "/doctor/")}, 0, map[string]string{
			"unchanged": "UNKNOWN", "WebSockets": "UNKNOWN", "Last-Event-ID": "UNKNOWN", "silence": "UNKNOWN",
		}, "does not answer the doctor's probes", ""},
		{"probes live, streams refused", box{answer: func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Get("poll") == "" && refuse(403, "/events")(w, r)
		}}, 3, map[string]string{
			"live": "FAILED", "closed streams": "UNKNOWN",
		}, "403", "not treated alike"},
		{"no events at all", box{answer: refuse(403, "/events")}, 1, map[string]string{
			"polling": "FAILED", "live": "FAILED", "closed streams": "UNKNOWN",
		}, "403", "allow GET /events"},
		{"everything refused", box{answer: refuse(403, "/events", "/doctor/stream")}, 1, map[string]string{
			"polling": "FAILED", "live": "FAILED", "closed streams": "UNKNOWN", "arrives piece by piece": "UNKNOWN", "unchanged": "UNKNOWN",
			"Last-Event-ID": "UNKNOWN", "silence": "UNKNOWN",
		}, "403", "of the type text/event-stream"},
		{"event streams refused", box{answer: func(w http.ResponseWriter, r *http.Request) bool {
			return r.Header.Get("Accept") == "text/event-stream" && refuse(403, "/")(w, r)
		}}, 3, map[string]string{
			"live": "FAILED", "closed streams": "UNKNOWN", "arrives piece by piece": "UNKNOWN", "unchanged": "UNKNOWN",
			"Last-Event-ID": "UNKNOWN", "silence": "UNKNOWN", "polling": "OK",
		}, "as text/plain, but text/event-stream is refused", "polls as text/plain"},
		{"another type", box{response: func(h http.Header) {
			if h.Get("Content-Type") == "text/event-stream" {
				h.Set("Content-Type", "text/html")
			}
		}}, 3, map[string]string{
			"live": "FAILED", "closed streams": "UNKNOWN", "arrives piece by piece": "UNKNOWN", "unchanged": "CHANGED",
			"Last-Event-ID": "UNKNOWN", "silence": "UNKNOWN", "polling": "OK",
		}, "text/html", "as it is"},
		{"too many requests", box{answer: refuse(429, "/events")}, 1, map[string]string{
			"polling": "FAILED", "live": "FAILED", "closed streams": "UNKNOWN",
		}, "429", "how often"},
		{"too many requests, now and then", box{answer: secondNewcomer(429)}, 0, map[string]string{"polling": "FAILED"}, "429", "how often"},
		{"no POST", box{answer: func(w http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodPost && refuse(403, "/")(w, r)
		}}, 3, map[string]string{"POST": "BLOCKED", "closed streams": "UNKNOWN"}, "403", "poll if they cannot"},
		{"two behind", box{pass: twoBehind}, 3, map[string]string{"live": "LATE", "closed streams": "UNKNOWN"}, "others follow it", "virus scanner"},
		{"every two seconds", box{pass: every(2 * time.Second)}, 0, map[string]string{"live": "LATE", "arrives piece by piece": "HELD"}, "only after", "waits"},
		{"a long distance", box{answer: func(_ http.ResponseWriter, r *http.Request) bool {
			switch r.URL.Path {
			case "/doctor/path":
				time.Sleep(4200 * time.Millisecond)
			case "/events":
				time.Sleep(5 * time.Second)
			}
			return false
		}}, 0, map[string]string{"live": "OK"}, "", ""},
		{"another server", box{answer: refuse(200, "/")}, 1, map[string]string{"reachable": "FAILED"}, "is it a headcount server?", "curl"},
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
			want["WebSockets"] = "BLOCKED" // by all boxes
			maps.Copy(want, tt.found)
			if tt.found["reachable"] == "FAILED" {
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

// Nothing is wrong with a direct connection, and nobody is left behind on it.
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
	server := remote.New(mustParse(t, front.URL), "")
	server.HTTP.Transport.(*http.Transport).TLSClientConfig = front.Client().Transport.(*http.Transport).TLSClientConfig
	var out strings.Builder
	_, err := doctor.Run(t.Context(), doctor.Options{
		Server: server, Silence: time.Second, JSON: true, Out: &out, Exit: func(o doctor.Outcome) int { return int(o) },
	})
	var report struct{ Findings []finding }
	if err != nil || json.Unmarshal([]byte(out.String()), &report) != nil {
		t.Fatalf("got %q, %v", out.String(), err)
	}
	want := healthy()
	for _, got := range report.Findings {
		if got.Verdict != want[got.Name] {
			t.Errorf("%s: got %s, %q; want %s", got.Name, got.Verdict, got.Words, want[got.Name])
		}
		if words := "HTTP/2 (ALPN h2) here, HTTP/1.1 at the server, through a proxy that says so"; got.Name == "HTTP version" && got.Words != words {
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
