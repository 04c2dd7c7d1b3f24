package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// patience is how long the doctor waits for what should come at once, beside the time that the way takes: see patient.
	patience = 4 * time.Second
	// longestSilence is what a server gives.
	longestSilence = 2 * time.Minute
)

// gaps are those of the probe that shows how events arrive: different ones, so that what comes late shows by how much.
func gaps() []time.Duration {
	return []time.Duration{500 * time.Millisecond, 300 * time.Millisecond, 800 * time.Millisecond, 400 * time.Millisecond}
}

func doctorCommand() command {
	return command{
		name:  "doctor",
		args:  "[URL]",
		about: aboutDoctor,
		notes: notesDoctor,
		flags: []string{"json", "silence"},
		run:   runDoctor,
	}
}

// doctor finds out what the way to a server does to streams.
type doctor struct {
	base      *url.URL
	http      *http.Client
	roundTrip time.Duration // the shortest so far
}

// patient is how long the doctor waits on a way as long as this one. The way to a new connection and back is one more.
func (d *doctor) patient() time.Duration { return patience + 4*d.roundTrip }

// facts are what the doctor has found; the words come later.
type facts struct {
	path    pathFacts
	silence time.Duration // how long it listens to silence

	socket  error  // why there is no WebSocket
	browser *probe // as a browser asks
	plain   *probe // without compression, if the browser's was compressed
	stream  streamFacts
	poll    pollFacts
	post    error // why no POST passes

	silent  *probe
	beating *probe
	noticed time.Duration // how long a closed stream was counted, 0 = longer than the doctor watched
}

// unanswered says that the server ends streams because no answer to its pings gets there.
func (f *facts) unanswered() bool { return f.stream.asked && f.post != nil }

// watch is how long the doctor watches whether a closed stream is noticed: the server is not to blame for its linger time.
func (f *facts) watch() time.Duration { return f.silence + seconds(f.path.server.Linger) }

// pathFacts are what one request shows.
type pathFacts struct {
	err       error
	roundTrip time.Duration // the shortest
	proto     string        // between here and whoever answers
	proxy     *url.URL      // the environment's
	noProbes  error         // why the server gives no probes, nil if it does
	server    struct {
		Proto             string
		Proxied           bool
		Heartbeat, Linger float64 // seconds
	}
}

type streamFacts struct {
	err         error
	began, news time.Duration
	asked       bool // the server wants its pings answered
}

type pollFacts struct {
	err  error
	news time.Duration
}

// runDoctor examines the way to a server, and tells.
func runDoctor(ctx context.Context, o *options, args []string, std streams) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("doctor takes one URL, got %d arguments", len(args))}
	}
	if o.silence < time.Second || o.silence > longestSilence {
		return usageError{fmt.Errorf("-silence %v is out of range; give 1s to %v", o.silence, longestSilence)}
	}
	base, err := parseURL(append(args, defaultURL)[0])
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // the doctor wants to see it
	d := &doctor{base: base, http: &http.Client{Transport: transport}}
	defer d.http.CloseIdleConnections()

	report := newReport(o, base, std)
	f := &facts{silence: o.silence}
	f.path = d.path(ctx)
	if ctx.Err() != nil {
		return nil
	}
	report.add(diagnosePath(f)...)
	if f.path.err == nil {
		d.examine(ctx, f, func() { report.add(diagnoseStreams(f)...) })
		if ctx.Err() != nil {
			return nil
		}
		report.add(diagnoseTime(f)...)
	}
	status := verdictOf(f)
	if err := report.end(status); err != nil {
		return err
	}
	if status != statusOK {
		return statusError(status)
	}
	return nil
}

// examine tries everything at once. It calls told when all is known but what takes the whole silence.
func (d *doctor) examine(ctx context.Context, f *facts, told func()) {
	var quick, slow sync.WaitGroup
	var v *visit
	quick.Go(func() {
		v = d.openVisit(ctx)
		f.stream = streamFacts{v.err, v.began, v.news, v.asked.Load()}
	})
	quick.Go(func() { f.poll.news, f.poll.err = d.tryPolling(ctx) })
	// A goodbye for somebody whom nobody knows.
	quick.Go(func() { f.post = d.post(ctx, "leave", "doctor-"+rand.Text(), rand.Text()) })
	if f.path.noProbes == nil {
		quick.Go(func() { f.socket = d.handshake(ctx) })
		quick.Go(func() {
			f.browser = d.probeTwice(ctx, f.path.roundTrip)
			if f.browser.packed != "" {
				f.plain = d.runProbe(ctx, "identity", "", gaps()...)
			}
		})
		slow.Go(func() { f.silent = d.runProbe(ctx, "identity", "", f.silence) })
		slow.Go(func() { f.beating = d.runProbe(ctx, "identity", "", beats(f.silence)...) })
	}
	quick.Wait()
	if v.err == nil {
		slow.Go(func() { f.noticed = v.close(ctx, f.watch()) })
	}
	if ctx.Err() == nil {
		told()
	}
	slow.Wait()
}

// probeTwice asks as a browser does. Where events are late it asks again, and takes the better probe: what is late only
// once was busy, be it this machine.
func (d *doctor) probeTwice(ctx context.Context, roundTrip time.Duration) *probe {
	ask := func() *probe { return d.runProbe(ctx, "gzip", "doctor-"+rand.Text(), gaps()...) }
	first := ask()
	if !first.complete {
		return first
	}
	m, before, _ := first.manner(roundTrip)
	if m != late {
		return first
	}
	second := ask()
	if !second.complete {
		return first
	}
	if _, after, _ := second.manner(roundTrip); after > before {
		return first
	}
	return second
}

// beatOf is the pace of the stream that runs beside one that is silent for d: if it breaks too, silence was not the
// reason. A server gives no more than 64 events.
func beatOf(d time.Duration) time.Duration { return max(time.Second, d/32) }

// beats fills d with gaps of at most a beat.
func beats(d time.Duration) []time.Duration {
	var all []time.Duration
	for beat := beatOf(d); d > 0; d -= beat {
		all = append(all, min(d, beat))
	}
	return all
}

// path asks who is there, a few times, for the shortest time that an answer takes.
func (d *doctor) path(ctx context.Context) (p pathFacts) {
	for range 4 {
		took, err := d.ask(ctx, &p)
		if err != nil {
			p.err = err
			return p
		}
		if p.roundTrip == 0 || took < p.roundTrip {
			p.roundTrip = took
			d.roundTrip = took
		}
		if p.noProbes != nil || took > time.Second {
			break // on a slow way one answer is enough
		}
	}
	if p.noProbes != nil {
		// Something answers. Is it a headcount server?
		_, p.err = d.count(ctx, "lobby")
	}
	return p
}

func (d *doctor) ask(ctx context.Context, p *pathFacts) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(2*patience, d.patient()))
	defer cancel()
	req, err := d.get(ctx, "doctor/path")
	if err != nil {
		return 0, err
	}
	if proxyOf := d.http.Transport.(*http.Transport).Proxy; proxyOf != nil {
		p.proxy, _ = proxyOf(req) // an error comes again with the request
	}
	resp, wrote, err := d.send(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	took = time.Since(wrote)
	p.proto, p.noProbes = resp.Proto, nil
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	switch {
	case err != nil:
		return 0, fmt.Errorf("read answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		p.noProbes = &refusedError{why: whyRefused(resp, "")}
	case json.Unmarshal(body, &p.server) != nil || p.server.Proto == "":
		p.noProbes = errors.New("it answers something else")
	}
	return took, nil
}

// verdictOf is the exit status: what can be used on this way.
func verdictOf(f *facts) int {
	switch {
	case f.path.err != nil || f.stream.err != nil && f.poll.err != nil:
		return statusFailed
	case f.stream.err != nil, f.unanswered():
		return statusPolling
	}
	return statusOK
}
