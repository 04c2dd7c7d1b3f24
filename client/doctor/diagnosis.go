package doctor

import (
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"headcount/client/remote"
	"headcount/client/terminal"
)

// The doctor of the page draws the same conclusions from the same facts, in assets/src/diagnosis.mjs. A test in
// test/browser compares the two.

// Names of the findings.
const (
	nameReachable = "reachable"
	nameVersion   = "HTTP version"
	nameSocket    = "WebSockets"
	nameLive      = "live"
	namePieces    = "arrives piece by piece"
	nameUnchanged = "unchanged"
	nameCursor    = "Last-Event-ID"
	namePost      = "POST"
	namePolling   = "polling"
	nameSilence   = "silence"
	nameClosed    = "closed streams"
)

const noProbes = "the server does not answer the doctor's probes"

// diagnosePath reports who answers, and how.
func diagnosePath(f *facts) []finding {
	p := f.path
	if p.err != nil {
		return []finding{{nameReachable, isFailed, remote.Reason(p.err), adviceOnFailure(p.url, p.err)}}
	}
	text := "it answers in " + span(p.roundTrip)
	if p.moved != "" {
		text += ", redirected to " + p.moved
	}
	if p.proxy != nil {
		text += ", through the proxy " + p.proxy.Redacted() + " that the environment names"
	}
	if p.noProbes != nil {
		text += "; but it does not answer the doctor's probes (" + remote.Reason(p.noProbes) + "), so some things stay unknown"
	}
	here, far := nameOf(p.proto), nameOf(p.server.Proto)
	version := here
	if p.alpn != "" {
		version += " (ALPN " + p.alpn + ")"
	}
	switch far {
	case "":
	case here:
		version += " all the way"
	default:
		version += " here, " + far + " at the server"
	}
	if p.server.Proxied {
		version += ", through a proxy that says so"
	}
	return []finding{{nameReachable, isOK, text, ""}, {nameVersion, isOK, version, ""}}
}

// adviceOnFailure returns what to do if there is no answer. The page cannot see why, so it always says adviceReach.
func adviceOnFailure(url string, err error) string {
	var refused *remote.Refusal
	var certificate *tls.CertificateVerificationError
	scheme, rest, _ := strings.Cut(url, "://")
	switch {
	case errors.As(err, &refused) && refused.WantsTLS:
		return "Use https://. Try: client doctor https://" + rest
	case errors.Is(err, http.ErrSchemeMismatch) && scheme == "https":
		return "Use http://. Try: client doctor http://" + rest
	case errors.As(err, &certificate):
		return "The server answers. Use the host name that its certificate is for, renew the certificate, or make this machine trust the" +
			" authority that signed it (on Linux: SSL_CERT_FILE=FILE client doctor " + url + ")."
	}
	return fmt.Sprintf(adviceReach, url)
}

// nameOf returns a readable name of a version of HTTP.
func nameOf(proto string) string {
	return strings.NewReplacer("HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/3").Replace(proto)
}

// diagnoseStreams reports what happens to a stream.
func diagnoseStreams(f *facts) []finding {
	return []finding{
		diagnoseSocket(f), diagnoseLive(f), diagnosePieces(f), diagnoseUnchanged(f), diagnoseCursor(f), diagnosePost(f), diagnosePolling(f),
	}
}

func diagnoseSocket(f *facts) finding {
	switch {
	case f.path.noProbes != nil:
		return finding{nameSocket, isUnknown, noProbes, ""}
	case f.socket != nil:
		return finding{nameSocket, isBlocked, remote.Reason(f.socket) + " (not needed)", ""}
	}
	return finding{nameSocket, isOK, "they get through (not needed)", ""}
}

func diagnoseLive(f *facts) finding {
	real, probe := f.stream, f.browser
	news := "a room's events arrive within " + span(real.news)
	if probe == nil || !probe.complete {
		if real.err == nil {
			return finding{nameLive, isOK, news, ""}
		}
		return finding{nameLive, isFailed, remote.Reason(real.err), adviceOnRefusal(real.err, "")}
	}
	m, median, most := probe.manner(f.path.roundTrip)
	switch m {
	case held:
		if real.err == nil && real.news > time.Second {
			return finding{nameLive, isLate, "a room's events arrive only after " + span(real.news), adviceLate}
		}
		if real.err == nil {
			return finding{nameLive, isOK, news + ", but probes are held back", adviceElsewhere}
		}
		return finding{nameLive, isHeld, "no event arrived before the end of its stream", ""}
	case behind:
		return finding{nameLive, isLate, "each event arrives only with the next one", adviceOrPlain(f, adviceBehind)}
	case late:
		if errors.Is(real.err, errNoEvent) {
			return finding{nameLive, isLate, "each event arrives only when others follow it", adviceOrPlain(f, adviceBehind)}
		}
		return finding{nameLive, isLate, fmt.Sprintf("events are late by %s, at most by %s", span(median), span(most)), adviceOrPlain(f, adviceLate)}
	}
	if real.err != nil {
		advice := adviceElsewhere
		if adviceOnRefusal(real.err, "") == adviceRate {
			advice = adviceRate
		}
		return finding{nameLive, isFailed, "probes are live, but a room's stream is not: " + remote.Reason(real.err), advice}
	}
	return finding{nameLive, isOK, fmt.Sprintf("probes arrive within %s, a room's events within %s", span(most), span(real.news)), ""}
}

func diagnosePieces(f *facts) finding {
	probe := f.browser
	switch {
	case probe == nil || !probe.complete:
		if f.stream.err == nil {
			return finding{namePieces, isOK, "yes: a room's stream began after " + span(f.stream.began), ""}
		}
		return finding{namePieces, isUnknown, "no stream came to its end", ""}
	case isManner(f, probe, held):
		return finding{namePieces, isHeld, "no: everything arrived at the end, after " + span(probe.took), adviceOrPlain(f, adviceHeld)}
	}
	return finding{namePieces, isOK, "yes: the first event arrived after " + span(probe.arrivals[0].at), ""}
}

func isManner(f *facts, p *probe, want manner) bool {
	got, _, _ := p.manner(f.path.roundTrip)
	return got == want
}

// adviceOrPlain returns advice. But if a stream without compression is live, it returns the advice about compression.
func adviceOrPlain(f *facts, advice string) string {
	if f.plain != nil && f.plain.complete && isManner(f, f.plain, live) {
		return adviceUnpack
	}
	return advice
}

func diagnoseUnchanged(f *facts) finding {
	probe := f.browser
	if probe == nil || probe.header == nil {
		return finding{nameUnchanged, isUnknown, noStream(f), ""}
	}
	if probe.packed != "" {
		return finding{nameUnchanged, isChanged, "no: compressed with " + terminal.OneLine(probe.packed) + " on the way", adviceUnpack}
	}
	kind := probe.header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(kind)
	var refused *remote.Refusal
	otherType := err != nil || media != "text/event-stream"
	switch {
	case errors.As(probe.err, &refused) && refused.Status != 0: // the response of a middlebox
		return finding{nameUnchanged, isUnknown, noStream(f), ""}
	case otherType:
		return finding{nameUnchanged, isChanged, fmt.Sprintf("no: its type arrives as %q", kind), adviceOtherType}
	case len(params) > 0:
		return finding{nameUnchanged, isChanged, fmt.Sprintf("no: its type arrives as %q", kind), adviceType}
	case !probe.complete:
		return finding{nameUnchanged, isUnknown, noStream(f), ""}
	case probe.changed:
		return finding{nameUnchanged, isChanged, "no: the bytes that arrive are not those that were sent", adviceChanged}
	}
	if cache := probe.header.Get("Cache-Control"); !strings.Contains(strings.ToLower(cache), "no-transform") {
		return finding{nameUnchanged, isChanged, fmt.Sprintf("no: Cache-Control arrives as %q, without no-transform", cache), adviceTransform}
	}
	return finding{nameUnchanged, isOK, "yes: every byte arrives as it was sent", ""}
}

// noStream returns why the probe of a stream shows nothing.
func noStream(f *facts) string {
	if f.path.noProbes != nil {
		return noProbes
	}
	return "no probe came to its end: " + remote.Reason(f.browser.err)
}

func diagnoseCursor(f *facts) finding {
	probe := f.browser
	switch {
	case probe == nil || len(probe.arrivals) == 0:
		return finding{nameCursor, isUnknown, noStream(f), ""}
	case !strings.HasPrefix(probe.cursor, "doctor-"):
		return finding{nameCursor, isBlocked, "something on the way removes it", adviceCursor}
	}
	return finding{nameCursor, isOK, "it gets through", ""}
}

func diagnosePost(f *facts) finding {
	if f.post != nil {
		return finding{namePost, isBlocked, remote.Reason(f.post), advicePost}
	}
	return finding{namePost, isOK, "it gets through", ""}
}

func diagnosePolling(f *facts) finding {
	if f.poll.err != nil {
		return finding{namePolling, isFailed, remote.Reason(f.poll.err), adviceOnRefusal(f.poll.err, advicePoll)}
	}
	text := "works: a room's events arrive within " + span(f.poll.news)
	if f.poll.typed != nil {
		return finding{namePolling, isOK, text + " as text/plain, but text/event-stream is refused", advicePlain}
	}
	return finding{namePolling, isOK, text, ""}
}

// adviceOnRefusal returns advice about a middlebox that answers in the server's place, or else other.
func adviceOnRefusal(err error, other string) string {
	var refused *remote.Refusal
	switch {
	case !errors.As(err, &refused) || refused.Own:
		return other
	case refused.Status == http.StatusTooManyRequests:
		return adviceRate
	case refused.Status == 0:
		return adviceOtherType
	}
	return adviceRefused
}

// diagnoseTime reports what only becomes visible over time.
func diagnoseTime(f *facts) []finding {
	return []finding{diagnoseSilence(f), diagnoseClosed(f)}
}

func diagnoseSilence(f *facts) finding {
	s, b := f.silent, f.beating
	if s == nil {
		return finding{nameSilence, isUnknown, noProbes, ""}
	}
	var refused *remote.Refusal
	heartbeat := seconds(f.path.server.Heartbeat)
	silent := s.took - s.last()
	switch {
	case s.complete:
		return finding{nameSilence, isOK, fmt.Sprintf("at least %s allowed (-silence tries more)", span(f.silence)), ""}
	case errors.As(s.err, &refused) && s.took < time.Second: // not because of time
		return finding{nameSilence, isUnknown, remote.Reason(s.err), ""}
	case len(s.arrivals) == 0:
		return finding{nameSilence, isCut, fmt.Sprintf("an answer is given up after %s: %s", span(s.took), remote.Reason(s.err)), adviceGivenUp}
	case !b.complete && (b.took-s.took).Abs() < beatOf(f.silence):
		return finding{nameSilence, isCut, fmt.Sprintf("an answer is cut after %s, silent or not", span(s.took)), adviceAge}
	case silent < heartbeat+heartbeat/4:
		return finding{nameSilence, isCut, fmt.Sprintf("only %s allowed, and the server is silent for up to %s", span(silent), span(heartbeat)),
			fmt.Sprintf(adviceSilence, max(time.Second, (silent/2).Round(time.Second)))}
	}
	return finding{nameSilence, isOK, fmt.Sprintf("%s allowed, and the server is never silent for more than %s", span(silent), span(heartbeat)), ""}
}

func diagnoseClosed(f *facts) finding {
	linger := seconds(f.path.server.Linger)
	text := fmt.Sprintf("noticed after %s (the server waits %s)", span(f.noticed), span(linger))
	switch {
	case f.stream.err != nil:
		return finding{nameClosed, isUnknown, "there was no stream to close", ""}
	case f.unanswered():
		return finding{nameClosed, isUnknown, "the server itself ends streams whose clients do not answer", ""}
	case f.noticed == 0:
		return finding{nameClosed, isUnseen, "still counted after " + span(f.watch()), adviceClosed}
	case f.noticed > linger+3*time.Second:
		return finding{nameClosed, isLate, text, adviceClosed}
	}
	return finding{nameClosed, isOK, text, ""}
}

// span formats a time with a unit.
func span(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
