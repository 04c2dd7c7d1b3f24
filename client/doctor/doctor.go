// Package doctor finds out what the network between this machine and a headcount server does to event streams, and
// gives advice.
//
// It uses the server's probes (docs/decisions/0015-doctor-probes.md), and subscribes and polls as a page does, in a
// private random room. It stores its results as facts. diagnosis.go turns facts into findings, and report.go prints
// them. Only the diagnosis contains sentences, so it is tested without a network.
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
	// answerTimeout is how long the doctor waits for an answer that should come at once, without the round trips, see
	// patient.
	answerTimeout = 4 * time.Second
	// MaxSilence is the longest silence that a server offers.
	MaxSilence = 2 * time.Minute
)

// Outcome is what works between this machine and a server.
type Outcome int

const (
	StreamsWork Outcome = iota
	OnlyPolling
	NothingWorks
)

// Options selects what to examine.
type Options struct {
	Server  *remote.Server
	Silence time.Duration // how long to test silence, up to MaxSilence
	JSON    bool          // one object instead of lines
	Out     io.Writer     // gets the report
	Console io.Writer     // shows the progress if it is a terminal
	// Exit returns the exit status for an outcome, for the JSON report.
	Exit func(Outcome) int
}

// Run examines the connection to a server and prints a report. At the end of ctx it stops without a report.
func Run(ctx context.Context, o Options) (Outcome, error) {
	d := &doctor{server: o.Server}
	defer d.server.Close()
	progress := newProgress(o.Console)
	defer progress.stop()
	report := newReport(o, progress)
	f := &facts{silence: o.Silence}

	progress.start("contacting the server", 0)
	f.path = d.path(ctx)
	if ctx.Err() != nil {
		return StreamsWork, nil
	}
	report.add(diagnosePath(f)...)
	if f.path.err == nil {
		progress.start("testing a stream", 0)
		d.examine(ctx, f, func() {
			report.add(diagnoseStreams(f)...)
			progress.start("testing idle timeout and disconnect detection", f.watch())
		})
		if ctx.Err() != nil {
			return StreamsWork, nil
		}
		report.add(diagnoseTime(f)...)
	}
	outcome := outcomeOf(f)
	return outcome, report.end(outcome)
}

// gaps returns the gaps of the probe that shows how events arrive. They differ, so that a late event shows its delay.
func gaps() []time.Duration {
	return []time.Duration{500 * time.Millisecond, 300 * time.Millisecond, 800 * time.Millisecond, 400 * time.Millisecond}
}

// doctor examines what happens to streams between this machine and a server.
type doctor struct {
	server    *remote.Server
	roundTrip time.Duration // the shortest so far
}

// patient returns how long the doctor waits on this connection. A new connection takes one more round trip.
func (d *doctor) patient() time.Duration { return answerTimeout + 4*d.roundTrip }

// facts are the results of the doctor. The diagnosis turns them into sentences.
type facts struct {
	path    pathFacts
	silence time.Duration // how long the silence lasts

	socket  error  // why there is no WebSocket
	browser *probe // requested as a browser does
	plain   *probe // without compression, if the browser's was compressed
	stream  streamFacts
	poll    pollFacts
	post    error // why no POST gets through

	silent  *probe
	beating *probe
	noticed time.Duration // how long a closed stream was counted, 0 = longer than the doctor watched
}

// unanswered reports whether the server ends streams because the answers to its pings do not arrive.
func (f *facts) unanswered() bool { return f.stream.asked && f.post != nil }

// watch returns how long the doctor watches until a closed stream is noticed. It includes the server's grace period,
// which is not an error.
func (f *facts) watch() time.Duration { return f.silence + seconds(f.path.server.Linger) }

// pathFacts are the results of one simple request.
type pathFacts struct {
	err       error
	url       string        // as the user wrote it
	moved     string        // the target of a redirect, if any
	roundTrip time.Duration // the shortest round trip
	proto     string        // between this machine and the next HTTP hop
	alpn      string        // the protocol that TLS negotiated, empty without TLS or ALPN
	proxy     *url.URL      // the proxy of the environment
	noProbes  error         // why the server offers no probes, or nil
	server    struct {
		Proto             string
		Proxied           bool
		Heartbeat, Linger float64 // seconds
	}
}

type streamFacts struct {
	err         error
	began, news time.Duration
	asked       bool // the server asks for answers to its pings
}

type pollFacts struct {
	err   error
	typed error // why polls as text/event-stream fail, if streams are refused
	news  time.Duration
}

// examine runs all tests at once. It calls report when all results are known except those that take the whole silence.
func (d *doctor) examine(ctx context.Context, f *facts, report func()) {
	var quick, slow sync.WaitGroup
	var session *session
	quick.Go(func() {
		session = d.openSession(ctx)
		f.stream = streamFacts{session.err, session.began, session.news, session.asked.Load()}
	})
	quick.Go(func() { f.poll.news, f.poll.err = d.tryPolling(ctx) })
	// A goodbye of a user who does not exist.
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
		report()
	}
	slow.Wait()
}

// probeTwice sends a probe as a browser does. If events are late, it sends another one and keeps the better result. A
// delay in only one probe comes from load, perhaps on this machine.
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

// beatOf returns the interval of the stream that runs beside one that is silent for d. If that stream breaks too, the
// silence was not the reason. A server sends no more than 64 events.
func beatOf(d time.Duration) time.Duration { return max(time.Second, d/32) }

// beats splits d into gaps of at most one beat.
func beats(d time.Duration) []time.Duration {
	var all []time.Duration
	for beat := beatOf(d); d > 0; d -= beat {
		all = append(all, min(d, beat))
	}
	return all
}

// path tests who answers, several times, to find the shortest round trip.
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
			break // one answer is enough on a slow connection
		}
	}
	if p.noProbes != nil {
		// Check that the answer comes from a headcount server.
		_, p.err = d.count(ctx, "lobby")
	}
	return p
}

func (d *doctor) ask(ctx context.Context, p *pathFacts) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(2*answerTimeout, d.patient()))
	defer cancel()
	req, err := d.get(ctx, "doctor/path")
	if err != nil {
		return 0, err
	}
	if proxyOf := d.server.HTTP.Transport.(*http.Transport).Proxy; proxyOf != nil {
		p.proxy, _ = proxyOf(req) // the request reports the same error
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
		p.noProbes = errors.New("the reply is not from headcount")
	}
	return took, nil
}

// outcomeOf returns what works on this connection.
func outcomeOf(f *facts) Outcome {
	switch {
	case f.path.err != nil || f.stream.err != nil && f.poll.err != nil:
		return NothingWorks
	case f.stream.err != nil, f.unanswered():
		return OnlyPolling
	}
	return StreamsWork
}
