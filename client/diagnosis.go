package main

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"
)

// The words of the doctor are in this file.

const (
	aboutDoctor = "say what the way to the server does to streams, and what to do about it"
	notesDoctor = `
One line for each finding: OK, LATE, HELD (comes only when it is complete), CUT, CHANGED, BLOCKED,
UNSEEN (by the server), FAILED or UNKNOWN; then advice. It takes little longer than -silence.
-json: {"url":…,"streams":…,"polling":…,"findings":[{"name":…,"verdict":…,"words":…,"advice":…}],…}
Exit status: 0 streams work, 3 only polling works, 1 nothing works, 2 a mistake on the command line.
`
	aboutSilence = "listen to silence for that `TIME`, 1s to 2m"

	namePolling = "polling"
	adviceHead  = "\nWhat to do\n"
)

func titleOfReport(url string) string { return "The way to " + url }

func diagnosisOf(status int) string {
	switch status {
	case statusOK:
		return "Streams work on this way."
	case statusPolling:
		return "Only polling works on this way."
	}
	return "Nothing works on this way."
}

// diagnosePath says who answers, and how.
func diagnosePath(f *facts) []finding {
	p := f.path
	if p.err != nil {
		return []finding{{"reachable", isFailed, reasonOf(p.err), adviceReach}}
	}
	words := "it answers in " + span(p.roundTrip)
	if p.proxy != nil {
		words += ", through the environment's proxy " + p.proxy.Redacted()
	}
	if p.noProbes != nil {
		words += "; but its probes are not there (" + reasonOf(p.noProbes) + "), so some things stay unknown"
	}
	version := strings.TrimSuffix(p.proto, ".0")
	if p.proto == "HTTP/1.0" {
		version = p.proto
	}
	switch far := strings.Replace(p.server.Proto, "HTTP/2.0", "HTTP/2", 1); {
	case far == "":
	case far == version:
		version += " all the way"
	default:
		version += " here, " + far + " at the server"
	}
	if p.server.Proxied {
		version += ", through a proxy that says so"
	}
	return []finding{{"reachable", isOK, words, ""}, {"HTTP version", isOK, version, ""}}
}

const adviceReach = "Is the address right, and the server up? Try: curl -v URL/healthz"

// diagnoseStreams says what becomes of a stream.
func diagnoseStreams(f *facts) []finding {
	return []finding{
		diagnoseSocket(f), diagnoseLive(f), diagnoseHeld(f), diagnoseChange(f), diagnoseCursor(f), diagnosePost(f), diagnosePoll(f),
	}
}

func diagnoseSocket(f *facts) finding {
	const name = "WebSockets"
	switch {
	case f.path.noProbes != nil:
		return finding{name, isUnknown, noProbes, ""}
	case f.socket != nil:
		return finding{name, isBlocked, reasonOf(f.socket) + " (not needed)", ""}
	}
	return finding{name, isOK, "they go through (not needed)", ""}
}

const noProbes = "the server's probes are not there"

func diagnoseLive(f *facts) finding {
	const name = "live"
	real, probe := f.stream, f.browser
	if probe == nil || !probe.complete {
		if real.err == nil {
			return finding{name, isOK, "news of a room come in " + span(real.news), ""}
		}
		return finding{name, isFailed, reasonOf(real.err), adviceOnRefusal(real.err, "")}
	}
	m, median, most := probe.manner(f.path.roundTrip)
	switch m {
	case held:
		if real.err == nil && real.news > time.Second {
			return finding{name, isLate, "news of a room come only after " + span(real.news), adviceLate}
		}
		if real.err == nil {
			return finding{name, isOK, "news of a room come in " + span(real.news) + ", but probes are held back", adviceElsewhere}
		}
		return finding{name, isHeld, "no event came before the end of its stream", ""}
	case behind:
		return finding{name, isLate, "each event comes only with the next one", adviceOrPlain(f, adviceBehind)}
	case late:
		if errors.Is(real.err, errNoEvent) {
			return finding{name, isLate, "each event comes only when others have come behind it", adviceOrPlain(f, adviceBehind)}
		}
		return finding{name, isLate, fmt.Sprintf("events are late by %s, or %s at most", span(median), span(most)), adviceOrPlain(f, adviceLate)}
	}
	if real.err != nil {
		advice := adviceElsewhere
		if adviceOnRefusal(real.err, "") == adviceRate {
			advice = adviceRate
		}
		return finding{name, isFailed, "probes are live, but a room's stream is not: " + reasonOf(real.err), advice}
	}
	return finding{name, isOK, fmt.Sprintf("events take %s at most, news of a room %s", span(most), span(real.news)), ""}
}

func diagnoseHeld(f *facts) finding {
	const name = "only complete"
	probe := f.browser
	switch {
	case probe == nil || !probe.complete:
		if f.stream.err == nil {
			return finding{name, isOK, "no: a room's stream began after " + span(f.stream.began), ""}
		}
		return finding{name, isUnknown, "no stream came to its end", ""}
	case isManner(f, probe, held):
		return finding{name, isHeld, "yes: all came at the end, after " + span(probe.took), adviceOrPlain(f, adviceHeld)}
	}
	return finding{name, isOK, "no: the first event came after " + span(probe.arrivals[0].at), ""}
}

func isManner(f *facts, p *probe, want manner) bool {
	got, _, _ := p.manner(f.path.roundTrip)
	return got == want
}

// adviceOrPlain is advice, but where a stream is live without compression: then that is the reason.
func adviceOrPlain(f *facts, advice string) string {
	if f.plain != nil && f.plain.complete && isManner(f, f.plain, live) {
		return adviceUnpack
	}
	return advice
}

func diagnoseChange(f *facts) finding {
	const name = "changed"
	probe := f.browser
	if probe == nil || probe.header == nil {
		return finding{name, isUnknown, noStream(f), ""}
	}
	if probe.packed != "" {
		return finding{name, isChanged, "compressed with " + oneLine(probe.packed) + " on the way", adviceUnpack}
	}
	kind := probe.header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(kind)
	var refused *refusedError
	otherType := err != nil || media != "text/event-stream"
	switch {
	case errors.As(probe.err, &refused) && refused.status != 0: // an answer of somebody else
		return finding{name, isUnknown, noStream(f), ""}
	case otherType:
		return finding{name, isChanged, fmt.Sprintf("its type arrives as %q", kind), adviceOtherType}
	case len(params) > 0:
		return finding{name, isChanged, fmt.Sprintf("its type arrives as %q", kind), adviceType}
	case !probe.complete:
		return finding{name, isUnknown, noStream(f), ""}
	case probe.changed:
		return finding{name, isChanged, "other bytes arrive than were sent", adviceChanged}
	case !strings.Contains(strings.ToLower(probe.header.Get("Cache-Control")), "no-transform"):
		return finding{name, isChanged, fmt.Sprintf("Cache-Control arrives as %q, without no-transform", probe.header.Get("Cache-Control")), adviceTransform}
	}
	return finding{name, isOK, "no: every byte arrives as it was sent", ""}
}

// noStream says why the probe of a stream tells nothing.
func noStream(f *facts) string {
	if f.path.noProbes != nil {
		return noProbes
	}
	return "no probe came to its end: " + reasonOf(f.browser.err)
}

func diagnoseCursor(f *facts) finding {
	const name = "Last-Event-ID"
	switch probe := f.browser; {
	case probe == nil || len(probe.arrivals) == 0:
		return finding{name, isUnknown, noStream(f), ""}
	case !strings.HasPrefix(probe.cursor, "doctor-"):
		return finding{name, isBlocked, "taken away on the way", adviceCursor}
	}
	return finding{name, isOK, "passed on", ""}
}

func diagnosePost(f *facts) finding {
	const name = "POST"
	if f.post != nil {
		return finding{name, isBlocked, reasonOf(f.post), advicePost}
	}
	return finding{name, isOK, "passes", ""}
}

func diagnosePoll(f *facts) finding {
	if f.poll.err != nil {
		return finding{namePolling, isFailed, reasonOf(f.poll.err), adviceOnRefusal(f.poll.err, advicePoll)}
	}
	return finding{namePolling, isOK, "works: news of a room come in " + span(f.poll.news), ""}
}

// adviceOnRefusal is what helps against somebody who answers in the server's place, or other advice.
func adviceOnRefusal(err error, other string) string {
	var refused *refusedError
	switch {
	case !errors.As(err, &refused) || refused.own:
		return other
	case refused.status == http.StatusTooManyRequests:
		return adviceRate
	case refused.status == 0:
		return adviceOtherType
	}
	return adviceRefused
}

// diagnoseTime says what only time shows.
func diagnoseTime(f *facts) []finding {
	return []finding{diagnoseSilence(f), diagnoseClosed(f)}
}

func diagnoseSilence(f *facts) finding {
	const name = "silence"
	s, b := f.silent, f.beating
	if s == nil {
		return finding{name, isUnknown, noProbes, ""}
	}
	var refused *refusedError
	heartbeat := seconds(f.path.server.Heartbeat)
	quiet := s.took - s.last()
	switch {
	case s.complete:
		return finding{name, isOK, fmt.Sprintf("%s, maybe more (-silence listens longer)", span(f.silence)), ""}
	case errors.As(s.err, &refused) && s.took < time.Second: // not by time
		return finding{name, isUnknown, reasonOf(s.err), ""}
	case len(s.arrivals) == 0:
		return finding{name, isCut, fmt.Sprintf("an answer is given up after %s: %s", span(s.took), reasonOf(s.err)), adviceGivenUp}
	case !b.complete && (b.took-s.took).Abs() < beatOf(f.silence):
		return finding{name, isCut, fmt.Sprintf("an answer is cut after %s, silent or not", span(s.took)), adviceAge}
	case quiet < heartbeat+heartbeat/4:
		return finding{name, isCut, fmt.Sprintf("%s, and the server is silent for up to %s", span(quiet), span(heartbeat)),
			fmt.Sprintf(adviceSilence, max(time.Second, (quiet/2).Round(time.Second)))}
	}
	return finding{name, isOK, fmt.Sprintf("%s; the server is never silent for more than %s", span(quiet), span(heartbeat)), ""}
}

func diagnoseClosed(f *facts) finding {
	const name = "closed streams"
	linger := seconds(f.path.server.Linger)
	switch {
	case f.stream.err != nil:
		return finding{name, isUnknown, "there was no stream to close", ""}
	case f.unanswered():
		return finding{name, isUnknown, "the server itself ends streams whose readers do not answer", ""}
	case f.noticed == 0:
		return finding{name, isUnseen, fmt.Sprintf("still counted after %s", span(f.watch())), adviceClosed}
	case f.noticed > linger+3*time.Second:
		return finding{name, isLate, fmt.Sprintf("noticed: gone after %s, with %s of linger", span(f.noticed), span(linger)), adviceClosed}
	}
	return finding{name, isOK, fmt.Sprintf("noticed: gone after %s, with %s of linger", span(f.noticed), span(linger)), ""}
}

// span is a time as people say it.
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

// Advice, in whole sentences.
const (
	adviceHeld = "Something keeps each answer until it is complete. If it is a proxy of yours: nginx needs \"proxy_buffering off;\"" +
		" for /events where it ignores X-Accel-Buffering or stands behind another nginx; lighttpd" +
		" server.stream-response-body = 2; Varnish beresp.do_stream = true; Apache mod_security must not read" +
		" responses of /events. If it is a virus scanner or not yours: pages find out and poll by themselves; EventSource can" +
		" with /events?poll=1."
	adviceBehind = "Something lets each event go only when the next one comes. If it is haproxy: no compression for" +
		" text/event-stream. If it is a virus scanner: pages are sent a comment behind each event, which pushes it out;" +
		" curl stays one event behind."
	adviceLate   = "Something waits before it passes an event on. If it is haproxy: \"option http-no-delay\". If it is nginx: \"tcp_nodelay on;\"."
	adviceUnpack = "Something compresses the stream, which can keep events back. Exclude text/event-stream: from gzip_types of nginx," +
		" from \"compression type\" of haproxy, from encode of Caddy, from mod_deflate of Apache, from compression() of Node."
	adviceRefused = "Something on the way answers in the server's place. If it is a filter: allow GET /events, and answers of the type" +
		" text/event-stream."
	adviceRate = "Something on the way limits how often one may ask. Allow more for /events, /alive and /leave: who polls asks again with each" +
		" event, and each 20 s."
	adviceOtherType = "Something on the way gives the answers of /events another type, so that no reader takes them. Have their" +
		" Content-Type, text/event-stream, left as it is."
	advicePost = "Allow POST /alive and /leave. Where the server cannot see whether a reader is still there, pages and client watch" +
		" answer its pings by them, and poll if they cannot; EventSource and curl are not asked. Without /leave who closes a page is" +
		" counted a little longer."
	adviceChanged   = "Something rewrites the text of streams. Exclude text/event-stream from what filters, scans or translates pages."
	adviceType      = "Some readers accept text/event-stream only as it is. Have no charset or other type put to it."
	adviceTransform = "Leave the header Cache-Control as the server sends it: no-transform keeps boxes on the way from compressing."
	adviceElsewhere = "/events and /doctor/ are not treated alike: compare the proxy's rules for the two."
	adviceCursor    = "Have the header Last-Event-ID passed on: without it EventSource, curl and client watch miss what happens while they reconnect." +
		" Pages with io.js use ?lastEventId= and miss nothing."
	advicePoll = "If streams work, polling is not needed. If not: answers of /events?poll=1 take up to 20 s and must not be cached," +
		" queued behind each other or cut."
	adviceAge = "Readers come back by themselves, miss nothing and stay counted. To have longer streams raise the time that the proxy" +
		" gives an answer (Envoy: route timeout; Varnish: send_timeout; Traffic Server: active timeout; Google: backend service timeout)."
	adviceGivenUp = "Answers of /events?poll=1 take up to 20 s: the proxy must wait longer than that."
	adviceSilence = "Start the server with -heartbeat %v, or raise the proxy's timeout for /events (nginx: proxy_read_timeout; haproxy: timeout server)."
	adviceClosed  = "Something keeps the server's end of a stream open when its reader has gone. Readers that answer pings (pages with" +
		" io.js, client watch) are not counted 60 s later all the same. The others are counted until their stream ends: start the server with" +
		" -max-age 10m."
)
