package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"testing"
	"time"

	"headcount/client/remote"
)

var writeDiagnoses = flag.Bool("diagnoses", false, "write testdata/diagnoses.json")

func ms(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

// times returns arrivals from pairs of numbers in milliseconds. The first is when an event arrived, and the second when
// it was sent.
func times(pairs ...float64) (all []arrival) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, arrival{ms(pairs[i]), ms(pairs[i+1])})
	}
	return all
}

func streamHeader() http.Header {
	return http.Header{"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache, no-store, no-transform"}}
}

func newProbe(arrivals []arrival) *probe {
	return &probe{header: streamHeader(), arrivals: arrivals, took: ms(2034), cursor: "doctor-1", complete: true}
}

func brokenProbe(took float64, err error, arrivals []arrival) *probe {
	return &probe{err: err, header: streamHeader(), arrivals: arrivals, took: ms(took), cursor: "doctor-1"}
}

// newFacts returns the facts of a connection without problems.
func newFacts() *facts {
	f := &facts{silence: 12 * time.Second, noticed: ms(2043)}
	f.path.url, f.path.roundTrip, f.path.proto = "http://localhost:8080", ms(2.5), "HTTP/1.1"
	f.path.server.Proto, f.path.server.Heartbeat, f.path.server.Linger = "HTTP/1.1", 10, 2
	f.browser = newProbe(times(7, 0, 510, 501, 812, 801, 1613, 1602, 2033, 2002))
	f.stream = streamFacts{began: ms(12.25), news: ms(3.5)}
	f.poll = pollFacts{news: ms(305)}
	f.silent = newProbe(times(4, 0, 12003, 12000))
	f.beating = newProbe(times(4, 0, 1004, 1000))
	return f
}

// examples returns facts by name for all findings of the doctor.
func examples() map[string]*facts {
	all := map[string]*facts{"all is well": newFacts()}
	with := func(name string, change func(f *facts)) {
		f := newFacts()
		change(f)
		all[name] = f
	}
	refused := &remote.Refusal{Why: "it answers 403 Forbidden", Status: 403}
	blind := func(f *facts) {
		f.path.server.Proto, f.path.server.Heartbeat, f.path.server.Linger = "", 0, 0
		f.browser, f.silent, f.beating = nil, nil, nil
	}
	with("not reachable", func(f *facts) { f.path.err = context.DeadlineExceeded })
	with("no probes", func(f *facts) {
		blind(f)
		f.path.noProbes = &remote.Refusal{Why: "it answers 404 Not Found", Status: 404}
	})
	with("no probes, no streams", func(f *facts) {
		blind(f)
		f.path.noProbes = errors.New("the reply is not from headcount")
		f.stream.err = errNoEvent
	})
	with("HTTP/2 to a proxy", func(f *facts) { f.path.proto, f.path.server.Proxied = "HTTP/2.0", true })
	with("HTTP/2 all the way", func(f *facts) { f.path.proto, f.path.server.Proto = "HTTP/2.0", "HTTP/2.0" })
	with("HTTP/1.0 at the server", func(f *facts) { f.path.server.Proto, f.path.server.Proxied = "HTTP/1.0", true })
	with("HTTP/1.0", func(f *facts) { f.path.proto, f.path.server.Proto = "HTTP/1.0", "HTTP/1.0" })
	with("WebSockets blocked", func(f *facts) { f.socket = refused })
	lateArrivals := times(207, 0, 710, 500, 1012, 800, 1813, 1600, 2233, 2000)
	with("late", func(f *facts) { f.browser.arrivals = lateArrivals })
	with("late, and the stream has none", func(f *facts) { f.browser.arrivals, f.stream.err = lateArrivals, errNoEvent })
	with("late, and the stream is refused", func(f *facts) { f.browser.arrivals, f.stream.err = lateArrivals, refused })
	with("late once, by little", func(f *facts) { f.browser.arrivals = times(7, 0, 510, 500, 1650, 800, 1655, 1600, 2033, 2000) })
	with("late once, by much", func(f *facts) { f.browser.arrivals = times(7, 0, 510, 500, 1812, 800, 1813, 1600, 2033, 2000) })
	with("behind", func(f *facts) { f.browser.arrivals = times(505, 0, 805, 500, 1605, 800, 2005, 1600, 2006, 2000) })
	heldArrivals := times(2005, 0, 2005, 500, 2005, 800, 2006, 1600, 2006, 2000)
	with("held", func(f *facts) { f.browser.arrivals, f.stream.err = heldArrivals, errNoEvent })
	with("probes held, streams not", func(f *facts) { f.browser.arrivals = heldArrivals })
	with("held, and news late", func(f *facts) { f.browser.arrivals, f.stream.news = heldArrivals, ms(1400) })
	with("streams without events, probes live", func(f *facts) { f.stream.err = errNoEvent })
	with("too many streams, probes live", func(f *facts) {
		f.stream.err = &remote.Refusal{Why: "it answers 429 Too Many Requests", Status: 429}
	})
	with("one event, cut", func(f *facts) { f.browser = brokenProbe(700, remote.ErrEnded, times(7, 0)) })
	with("stream refused", func(f *facts) {
		f.browser, f.stream.err = brokenProbe(7, refused, nil), refused
		f.browser.header.Set("Content-Type", "text/html")
	})
	with("stream refused by the server", func(f *facts) {
		own := &remote.Refusal{Why: "it answers 503 Service Unavailable: full", Status: 503, Own: true}
		f.browser, f.stream.err, f.poll.err = brokenProbe(7, own, nil), own, own
	})
	with("too many", func(f *facts) {
		rate := &remote.Refusal{Why: "it answers 429 Too Many Requests", Status: 429}
		f.browser, f.stream.err, f.poll.err = brokenProbe(7, rate, nil), rate, rate
	})
	with("event streams refused, plain polls pass", func(f *facts) {
		f.browser, f.stream.err, f.poll.typed = brokenProbe(7, refused, nil), refused, refused
		f.browser.header.Set("Content-Type", "text/html")
	})
	with("another type", func(f *facts) {
		other := &remote.Refusal{Why: `it answers with "text/plain", not with events; is it a headcount server?`}
		f.browser, f.stream.err, f.poll.err = brokenProbe(7, other, nil), other, other
		f.browser.header.Set("Content-Type", "text/plain")
	})
	with("compressed", func(f *facts) {
		f.browser.packed = "gzip"
		f.plain = newProbe(times(7, 0, 510, 501))
	})
	with("charset", func(f *facts) { f.browser.header.Set("Content-Type", "text/event-stream; charset=utf-8") })
	with("other bytes", func(f *facts) { f.browser.changed = true })
	with("Cache-Control", func(f *facts) { f.browser.header.Set("Cache-Control", "no-cache") })
	with("Last-Event-ID", func(f *facts) { f.browser.cursor = "" })
	with("POST", func(f *facts) { f.post = refused })
	with("POST, and the server asks", func(f *facts) { f.post, f.stream.asked = refused, true })
	with("polling", func(f *facts) { f.poll.err = context.DeadlineExceeded })
	with("nothing works", func(f *facts) { f.poll.err, f.stream.err = refused, refused })
	with("silence cut", func(f *facts) { f.silent = brokenProbe(5010, remote.ErrEnded, times(4, 0)) })
	with("silence cut at once", func(f *facts) { f.silent = brokenProbe(1004, remote.ErrEnded, times(4, 0)) })
	with("silence cut beyond the heartbeat", func(f *facts) { f.silence, f.silent = 35*time.Second, brokenProbe(30010, remote.ErrEnded, times(4, 0)) })
	with("cut by age", func(f *facts) {
		f.silent, f.beating = brokenProbe(5010, remote.ErrEnded, times(4, 0)), brokenProbe(5400, remote.ErrEnded, times(4, 0, 1004, 1000))
	})
	with("given up", func(f *facts) {
		f.silent = brokenProbe(5010, &remote.Refusal{Why: "it answers 504 Gateway Timeout", Status: 504}, nil)
	})
	with("silence refused", func(f *facts) {
		f.silent = brokenProbe(9, &remote.Refusal{Why: "it answers 503 Service Unavailable", Status: 503}, nil)
	})
	with("silence ends at once", func(f *facts) { f.silent = brokenProbe(9, remote.ErrEnded, times(4, 0)) })
	with("closed streams unseen", func(f *facts) { f.noticed = 0 })
	with("closed streams seen late", func(f *facts) { f.noticed = ms(5300) })
	return all
}

// The findings for the examples are in a file. A test in test/browser compares them with the findings of the page.
func TestDiagnoses(t *testing.T) {
	type said struct {
		Facts     any       `json:"facts"`
		Findings  []finding `json:"findings"`
		Diagnosis string    `json:"diagnosis"`
	}
	var got bytes.Buffer
	all := map[string]json.RawMessage{}
	for name, f := range examples() {
		findings := diagnosePath(f)
		if f.path.err == nil {
			findings = append(findings, append(diagnoseStreams(f), diagnoseTime(f)...)...)
		}
		text, err := json.Marshal(said{forPage(f), findings, diagnosisOf(outcomeOf(f))})
		if err != nil {
			t.Fatal(err)
		}
		all[name] = text
	}
	if err := json.NewEncoder(&got).Encode(all); err != nil {
		t.Fatal(err)
	}
	const path = "testdata/diagnoses.json"
	if *writeDiagnoses {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is not what the doctor says (%v); write it with go test ./client/doctor -run TestDiagnoses -diagnoses", path, err)
	}
}

// forPage returns the facts in the form of assets/src/probe.mjs. Errors become objects with words, status and own.
func forPage(f *facts) any {
	type object = map[string]any
	fault := func(err error) any {
		var refused *remote.Refusal
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refused):
			return object{"words": remote.Reason(err), "status": refused.Status, "own": refused.Own}
		}
		return object{"words": remote.Reason(err)}
	}
	words := func(err error) any {
		if err == nil {
			return nil
		}
		return remote.Reason(err)
	}
	millis := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	ofProbe := func(p *probe) any {
		if p == nil {
			return nil
		}
		arrivals := []object{}
		for _, a := range p.arrivals {
			arrivals = append(arrivals, object{"at": millis(a.at), "sent": millis(a.sent)})
		}
		return object{
			"arrivals": arrivals, "took": millis(p.took), "cursor": p.cursor, "complete": p.complete, "changed": p.changed, "error": fault(p.err),
			"headers": object{
				"content-type": p.header.Get("Content-Type"), "cache-control": p.header.Get("Cache-Control"), "content-encoding": p.packed,
			},
		}
	}
	path := object{
		"url": f.path.url, "roundTrip": millis(f.path.roundTrip), "error": words(f.path.err), "noProbes": words(f.path.noProbes),
		"proto": map[string]string{"HTTP/1.0": "http/1.0", "HTTP/1.1": "http/1.1", "HTTP/2.0": "h2"}[f.path.proto],
	}
	if s := f.path.server; s.Proto != "" {
		path["server"] = object{"proto": s.Proto, "proxied": s.Proxied, "heartbeat": s.Heartbeat, "linger": s.Linger}
	}
	o := object{
		"path": path, "socket": words(f.socket), "post": fault(f.post), "silence": millis(f.silence), "watch": millis(f.watch()),
		"beat": millis(beatOf(f.silence)), "probe": ofProbe(f.browser), "silent": ofProbe(f.silent), "beating": ofProbe(f.beating),
		"session": object{
			"error": fault(f.stream.err), "began": millis(f.stream.began), "news": millis(f.stream.news), "asked": f.stream.asked,
		},
		"polling": object{"error": fault(f.poll.err), "typed": fault(f.poll.typed), "news": millis(f.poll.news)},
	}
	if f.noticed > 0 {
		o["noticed"] = millis(f.noticed)
	}
	return o
}
