// Package doctor finds out what the network between here and a headcount server does to event streams, and says what to do about it.
//
// It asks the server's probes (docs/decisions/0015-doctor-probes.md), and subscribes and polls as a page does, in a room
// that nobody else knows. What it found becomes facts, diagnosis.go turns facts into findings, and report.go prints them.
// Only the diagnosis has words, so it is tested without a network.
package doctor

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

	"headcount/client/remote"
)

const (
	// patience is how long the doctor waits for what should come at once, beside the round trips: see patient.
	patience = 4 * time.Second
	// MaxSilence is what a server gives.
	MaxSilence = 2 * time.Minute
)

// Outcome is what works between here and a server.
type Outcome int

const (
	StreamsWork Outcome = iota
	OnlyPolling
	NothingWorks
)

// Options say what to examine.
type Options struct {
	Server  *remote.Server
	Silence time.Duration // how long to listen to silence, up to MaxSilence
	JSON    bool          // one object instead of lines
	Out     io.Writer     // gets the report
	Console io.Writer     // shows what the doctor is doing, if it is a terminal
	// Exit is the exit status that the JSON report names for an outcome.
	Exit func(Outcome) int
}

// Run examines the connection to a server and reports. At the end of ctx it just ends.
func Run(ctx context.Context, o Options) (Outcome, error) {
	d := &doctor{server: o.Server}
	defer d.server.Close()
	progress := newProgress(o.Console)
	defer progress.stop()
	report := newReport(o, progress)
	f := &facts{silence: o.Silence}

	progress.start("looking who answers", 0)
	f.path = d.path(ctx)
	if ctx.Err() != nil {
		return StreamsWork, nil
	}
	report.add(diagnosePath(f)...)
	if f.path.err == nil {
		progress.start("looking how a stream arrives", 0)
		d.examine(ctx, f, func() {
			report.add(diagnoseStreams(f)...)
			progress.start("listening to silence, and waiting until a closed stream is noticed", f.watch())
		})
		if ctx.Err() != nil {
			return StreamsWork, nil
		}
		report.add(diagnoseTime(f)...)
	}
	outcome := outcomeOf(f)
	return outcome, report.end(outcome)
}

// gaps are those of the probe that shows how events arrive: different ones, so that what comes late shows by how much.
func gaps() []time.Duration {
	return []time.Duration{500 * time.Millisecond, 300 * time.Millisecond, 800 * time.Millisecond, 400 * time.Millisecond}
}

// doctor finds out what happens to streams between here and a server.
type doctor struct {
	server    *remote.Server
	roundTrip time.Duration // the shortest so far
}

// patient is how long the doctor waits at this distance. A new connection takes one round trip more.
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

// unanswered reports whether the server ends streams because no answer to its pings gets there.
func (f *facts) unanswered() bool { return f.stream.asked && f.post != nil }

// watch is how long the doctor watches whether a closed stream is noticed: the server is not to blame for its linger time.
func (f *facts) watch() time.Duration { return f.silence + seconds(f.path.server.Linger) }

// pathFacts are what one request shows.
type pathFacts struct {
	err       error
	url       string        // as the user gave it
	moved     string        // where it redirects to, if it does
	roundTrip time.Duration // the shortest
	proto     string        // between here and whoever answers
	alpn      string        // what TLS settled on, empty without TLS or ALPN
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
	err   error
	typed error // why no poll arrives as text/event-stream, if streams are refused
	news  time.Duration
}

// examine tries everything at once. It calls told when all is known but what takes the whole silence.
func (d *doctor) examine(ctx context.Context, f *facts, told func()) {
	var quick, slow sync.WaitGroup
	var session *session
	quick.Go(func() {
		session = d.openSession(ctx)
		f.stream = streamFacts{session.err, session.began, session.news, session.asked.Load()}
	})
	quick.Go(func() { f.poll.news, f.poll.err = d.tryPolling(ctx) })
	// A goodbye for a user who does not exist.
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
	var refused *remote.Refusal
	if f.poll.err == nil && errors.As(f.stream.err, &refused) && !refused.Own {
		_, f.poll.typed = d.poll(ctx, "doctor-"+rand.Text(), "", "", true)
	}
	if session.err == nil {
		slow.Go(func() { f.noticed = session.close(ctx, f.watch()) })
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
	p.url = d.server.String()
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
			break // at a long distance one answer is enough
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
	if proxyOf := d.server.HTTP.Transport.(*http.Transport).Proxy; proxyOf != nil {
		p.proxy, _ = proxyOf(req) // an error comes again with the request
	}
	resp, wrote, err := d.send(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	took = time.Since(wrote)
	p.proto, p.noProbes = resp.Proto, nil
	if resp.TLS != nil {
		p.alpn = resp.TLS.NegotiatedProtocol
	}
	if now := d.server.Base().Redacted(); now != p.url {
		p.moved = now
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	switch {
	case err != nil:
		return 0, fmt.Errorf("read answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		p.noProbes = &remote.Refusal{Why: "it answers " + resp.Status}
	case json.Unmarshal(body, &p.server) != nil || p.server.Proto == "":
		p.noProbes = errors.New("it answers something else")
	}
	return took, nil
}

// outcomeOf says what works on this connection.
func outcomeOf(f *facts) Outcome {
	switch {
	case f.path.err != nil || f.stream.err != nil && f.poll.err != nil:
		return NothingWorks
	case f.stream.err != nil, f.unanswered():
		return OnlyPolling
	}
	return StreamsWork
}
