package doctor_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headcount"
	"headcount/client/doctor"
	"headcount/client/remote"
	"headcount/client/remote/remotetest"
	"headcount/internal/bubble"
	server "headcount/internal/doctor"
	"headcount/internal/httpapi"
)

// finding is one line of the report.
type finding struct{ Name, Verdict, Words, Advice string }

// healthy returns the findings for a connection without problems.
func healthy() map[string]string {
	return map[string]string{
		"reachable": "OK", "HTTP version": "OK", "WebSockets": "OK", "live": "OK", "arrives piece by piece": "OK", "unchanged": "OK",
		"Last-Event-ID": "OK", "POST": "OK", "polling": "OK", "silence": "OK", "closed streams": "OK",
	}
}

// The doctor finds what each box does, and nothing else.
func TestDoctorFindsBoxes(t *testing.T) {
	tests := []struct {
		name   string
		box    box
		status int
		found  map[string]string // differences from a direct connection
		words  string            // of the first difference
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
		}, "429", "rate-limits requests"},
		{"too many requests, now and then", box{answer: secondNewcomer(429)}, 0, map[string]string{"polling": "FAILED"}, "429", "rate-limits requests"},
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
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				status, got := examineThrough(t, tt.box)
				if status != tt.status {
					t.Errorf("got exit status %d, want %d", status, tt.status)
				}
				want := healthy()
				want["WebSockets"] = "BLOCKED" // all boxes block them
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
		})
	}
}

// examineThrough runs the doctor as a script would, through a box in front of a server. No user may stay on the server,
// whatever the box blocks.
func examineThrough(t *testing.T, b box) (status int, found map[string]finding) {
	t.Helper()
	live, err := headcount.New(headcount.Options{
		Linger: 200 * time.Millisecond, Writer: headcount.Portable, // the kernel's sockets are outside the bubble
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := live.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	probes := server.New(10*time.Second, 200*time.Millisecond)
	errors := httpapi.Errors{Log: slog.New(slog.DiscardHandler)}
	upstream := bubble.Start(t, httpapi.Bounded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isProbe := strings.CutPrefix(r.URL.Path, "/doctor/")
		if !isProbe {
			live.ServeHTTP(w, r)
			return
		}
		errors.Handle(func(w http.ResponseWriter, r *http.Request) error { return probes.Probe(w, r, name) }).ServeHTTP(w, r)
	})))
	upstream.Client.Transport.(*http.Transport).DisableCompression = true
	base, err := url.Parse("http://headcount.test")
	if err != nil {
		t.Fatal(err)
	}
	to := remote.New(base, "")
	defer remotetest.Start(to, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.serve(w, r, upstream.Client.Transport, base) }))()

	var out strings.Builder
	exit := func(o doctor.Outcome) int {
		return map[doctor.Outcome]int{doctor.OnlyPolling: 3, doctor.NothingWorks: 1}[o]
	}
	outcome, err := doctor.Run(t.Context(), doctor.Options{Server: to, Silence: 3 * time.Second, JSON: true, Out: &out, Exit: exit})
	var report struct {
		Findings []finding
		Exit     int
	}
	if jsonErr := json.Unmarshal([]byte(out.String()), &report); err != nil || jsonErr != nil || report.Exit != exit(outcome) {
		t.Errorf("got %q, outcome %v: %v, %v", out.String(), outcome, err, jsonErr)
	}
	found = map[string]finding{}
	for _, f := range report.Findings {
		found[f.Name] = f
	}
	time.Sleep(5 * time.Second) // shorter than a lease
	if b.deaf || found["POST"].Verdict == "BLOCKED" {
		time.Sleep(30 * time.Second) // these boxes let no goodbye through
	}
	if s := live.Stats(); s.Users != 0 || s.Streams != 0 {
		t.Errorf("%d users and %d streams are left, want none", s.Users, s.Streams)
	}
	return exit(outcome), found
}
